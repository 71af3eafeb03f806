/** One file per command, and every record complete. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { longName } from '../../../src/cli/command.ts';
import { commands, globalFlags, groups } from '../../../src/cli/registry.ts';
import { projectRoot } from '../../support/command.ts';

const names = commands.map((command) => command.name);

test('every file in commands/ is registered, under its name', () => {
  const files = readdirSync(join(projectRoot, 'src/cli/commands')).map((file) => file.replace(/\.ts$/, ''));
  expect(names.map((name) => name.replace(' ', '-')).sort()).toEqual(files.sort());
});

test('every group has commands, and every command of two words has a group', () => {
  const used = names.flatMap((name) => (name.includes(' ') ? [name.split(' ')[0]!] : []));
  expect([...new Set(used)].sort()).toEqual(Object.keys(groups).sort());
});

describe.each(commands)('kina $name', (command) => {
  test('has an imperative summary without a period', () => {
    expect(command.summary).toMatch(/^[A-Z][a-z]+ .*[^.]$/);
  });

  test('names each flag once', () => {
    const flags = [...command.flags, ...globalFlags].map(longName);
    expect(flags).toEqual([...new Set(flags)]);
  });

  test('has a handler', async () => {
    expect((await command.load()).run).toBeTypeOf('function');
  });
});
