import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { describeUnless, missing } from '../../support/requirements.ts';
import { noShell, recipes } from './support.ts';

const scripts = async (): Promise<string[]> => {
  const entries = await readdir(join(recipes, 'files'), { recursive: true, withFileTypes: true });
  const files = entries.filter((e) => e.isFile()).map((e) => join(e.parentPath, e.name));
  return files.filter((path) => path.endsWith('.sh') || readFileSync(path, 'utf8').startsWith('#!')).sort();
};

describeUnless(missing(['shellcheck']), 'shellcheck', () => {
  test('accepts all shell of a node', async () => {
    const result = spawnSync('shellcheck', ['--external-sources', ...(await scripts())], { encoding: 'utf8' });
    expect(result.stdout).toBe('');
  });
});

describeUnless(noShell, 'dash', () => {
  // A library with a syntax error would end PID 1 while it is being read.
  test('parses every script', async () => {
    const all = await scripts();
    expect(all.length).toBeGreaterThan(10);
    for (const script of all) expect(execFileSync('dash', ['-n', script], { encoding: 'utf8' })).toBe('');
  });
});

// Recipes take the modes of files from here: executable or not.
test('scripts that something starts are executable, libraries are not', async () => {
  for (const script of await scripts())
    expect.soft((statSync(script).mode & 0o111) !== 0, script).toBe(readFileSync(script, 'utf8').startsWith('#!'));
});
