/**
 * docs/kind.md against the commands: every flag of kind exists or is documented as missing, and everything that the page
 * names exists. The list is that of kind 0.33.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { program } from '../../../src/cli/program.ts';
import { projectRoot } from '../../support/command.ts';

const root = program();
const page = (name: string): string => readFileSync(join(projectRoot, name), 'utf8');

function find(path: string): Command | undefined {
  let command: Command | undefined = root;
  for (const word of path.split(' ')) command = command?.commands.find((one) => one.name() === word);
  return command;
}
const flagsOf = (command: Command): string[] =>
  [...command.options, ...root.options].flatMap(({ long, short }) => [long ?? '', short ?? '']).concat('--help', '-h');

const kinds: Readonly<Record<string, readonly string[]>> = {
  'build node-image': ['--type', '--image', '--base-image', '--arch'],
  'create cluster': ['-n', '--name', '--config', '--image', '--retain', '--wait', '--kubeconfig'],
  'delete cluster': ['-n', '--name', '--kubeconfig'],
  'delete clusters': ['-A', '--all', '--kubeconfig'],
  'export kubeconfig': ['-n', '--name', '--kubeconfig', '--internal'],
  'export logs': ['-n', '--name'],
  'get clusters': [],
  'get nodes': ['-n', '--name', '-A', '--all-clusters'],
  'get kubeconfig': ['-n', '--name', '--internal'],
  'load docker-image': ['-n', '--name', '--nodes'],
  'load image-archive': ['-n', '--name', '--nodes'],
  completion: [],
  version: [],
};
const everywhere = ['-v', '--verbosity', '-q', '--quiet', '-h', '--help'];

describe("kind's commands", () => {
  test.each(Object.entries(kinds))('%s has its flags, or docs/kind.md documents what is missing', (path, flags) => {
    const command = find(path);
    const known = flagsOf(command!);
    const absent = [...flags, ...everywhere].filter((flag) => !known.includes(flag));
    expect(absent.filter((flag) => !page('docs/kind.md').includes(`\`${path} ${flag}\``))).toEqual([]);
  });

  test('what is documented as missing is missing', () => {
    expect(flagsOf(find('build node-image')!)).not.toContain('--base-image');
    expect(flagsOf(find('create cluster')!)).toContain('--dry-run');
  });
});

/** Flags of kind that the page names because kina does not have them. */
const notOurs = ['--base-image'];

test('commands in the table, and their flags, exist', () => {
  // whole command lines, in this page and in others, are tried by documents.test.ts
  const verbs = 'create|delete|get|load|export|start|stop|build|exec|config';
  const named = [...page('docs/kind.md').matchAll(new RegExp(`\`((?:${verbs}) [a-z-]+(?: [^\`\\n]*)?)\``, 'g'))];
  expect(named.length).toBeGreaterThan(15);
  const wrong = named.flatMap(([, line = '']) => {
    const [group = '', ...words] = line.split(' -- ')[0]!.split(' ');
    const command = find(`${group} ${words[0]}`) ?? find(group);
    if (!command || (command.commands.length > 0 && words.length > 0)) return [line];
    const flags = words.filter((word) => word.startsWith('--'));
    return flags
      .filter((flag) => !flagsOf(command).includes(flag) && !notOurs.includes(flag))
      .map((f) => `${line}: ${f}`);
  });
  expect(wrong).toEqual([]);
});
