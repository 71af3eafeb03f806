/** A skipped test says why: skip-reporter.ts prints the reasons. */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { projectRoot } from '../../support/command.ts';

test('no test is skipped without a reason', () => {
  const silent = globSync('test/**/*.ts', { cwd: projectRoot }).flatMap((name) => {
    if (/requirements\.ts$|skips\.test\.ts$/.test(name)) return [];
    const lines = readFileSync(join(projectRoot, name), 'utf8').split('\n');
    return lines.filter((line) => /\b(skipIf|skip)\(\)|\.skipIf\(|\b(describe|test|it)\.skip\(/.test(line));
  });
  expect(silent).toEqual([]);
});
