/**
 * The pages about clusters against the commands: every command and flag that they name exists, every flag of kind exists or
 * its absence is written down. Kind's list is that of its version 0.33.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { program } from '../../../src/cli/main.ts';
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
  test.each(Object.entries(kinds))('%s has its flags, or docs/kind.md says that it has not', (path, flags) => {
    const command = find(path);
    const known = flagsOf(command!);
    const absent = [...flags, ...everywhere].filter((flag) => !known.includes(flag));
    expect(absent.filter((flag) => !page('docs/kind.md').includes(`\`${path} ${flag}\``))).toEqual([]);
  });

  test('what is said to be absent is absent', () => {
    expect(flagsOf(find('build node-image')!)).not.toContain('--base-image');
    expect(flagsOf(find('create cluster')!)).toContain('--dry-run');
  });
});

/** Command lines in `code` and in console blocks: `kina WORDS`. */
function commandLines(text: string): string[] {
  const inline = [...text.matchAll(/`(?:[A-Z_]+=\S+ )*(kina [^`\n]+)`/g)].map((match) => match[1]!);
  const blocks = [...text.matchAll(/^(?:\$ )?(?:[A-Z_]+=\S+ )*(kina [^\n#]+)/gm)].map((match) => match[1]!);
  return [...new Set([...inline, ...blocks])];
}

/** Commands named by their last words only, as tables about commands do. */
const named = (text: string): string[] =>
  [...text.matchAll(/`((?:create|delete|get|load|export|start|stop|build) [a-z-]+(?: [^`\n]*)?)`/g)].map(
    (m) => `kina ${m[1]}`,
  );

describe.each(['docs/kind.md', 'docs/clusters.md', 'docs/network.md', 'docs/cluster-config.md'])('%s', (name) => {
  const lines = [...commandLines(page(name)), ...named(page(name))];
  test.skipIf(lines.length === 0)('names commands and flags that there are', () => {
    const wrong = lines.flatMap((line) => {
      const words = line.split(' -- ')[0]!.split(/\s+/).slice(1);
      let command: Command = root;
      for (const word of words) command = command.commands.find((one) => one.name() === word) ?? command;
      const flags = words.filter((word) => word.startsWith('-') && word !== '--').map((word) => word.split('=')[0]!);
      const unknown = flags.filter((flag) => !flagsOf(command).includes(flag) && !notOurs.includes(flag));
      return [
        ...(command === root && words.length > 0 && !words[0]!.startsWith('-') ? [line] : []),
        ...unknown.map((flag) => `${line}: ${flag}`),
      ];
    });
    expect(wrong).toEqual([]);
  });
});

/** Flags of kind that docs/kind.md names because kina has them not. */
const notOurs = ['--base-image'];
