/** Every command in README and docs is valid: names, flags, number of arguments. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { expect, test } from 'vitest';
import { program } from '../../../src/cli/program.ts';
import { projectRoot } from '../../support/command.ts';

const documents = ['README.md', ...readdirSync(join(projectRoot, 'docs')).map((name) => `docs/${name}`)];

/** Lines of code blocks that begin with kina, and commands in running text. */
function commandsOf(document: string): string[] {
  const text = readFileSync(join(projectRoot, document), 'utf8');
  const blocks = [...text.matchAll(/^```(?:sh|console)\n(.*?)^```/gms)].flatMap((m) => m[1]!.split('\n'));
  const running = [...text.replace(/^```.*?^```/gms, '').matchAll(/`([^`\n]+)`/g)].map((m) => m[1]!);
  return [...blocks, ...running].flatMap((line) => {
    const command = /^(?:\$ )?(?:.* && )?(?:npm run -s )?(kina .*)$/.exec(line)?.[1];
    if (command === undefined || /…|\.\.\.|[A-Z]\|/.test(command)) return [];
    return [
      command
        .replace(/^kina -- /, 'kina ')
        .replace(/\s+(#|>|\|).*$/, '')
        .trim(),
    ];
  });
}

/** The words of a command line as a shell would make them, except that a substitution, `"$(…)"`, stays one word as it is. */
function words(line: string): string[] {
  return [...line.matchAll(/(?:"\$\([^)]*\)"|"[^"]*"|'[^']*'|[^\s"'])+/g)].map(([word]) => word.replace(/["']/g, ''));
}

test('a substitution is one word', () =>
  expect(words(`kina build --set registry="$(npm config get registry)" --tag 'a b'`)).toEqual([
    'kina',
    'build',
    '--set',
    'registry=$(npm config get registry)',
    '--tag',
    'a b',
  ]));

function withoutActions(command: Command): Command {
  command.action(() => {});
  for (const child of command.commands) withoutActions(child);
  return command;
}

const shown = documents.flatMap((document) => commandsOf(document).map((command) => [document, command] as const));

test('the documents contain commands', () => expect(shown.length).toBeGreaterThan(15));

test.each(shown)('%s: %s', async (_document, command) => {
  const args = words(command).slice(1);
  const kina = program();
  // Groups stay as they are: their subcommands must exist.
  for (const group of kina.commands)
    for (const leaf of group.commands.length ? group.commands : [group]) withoutActions(leaf);
  // A mention of a group (`kina cache`) is not a command line.
  if (args.length === 1 && kina.commands.some((c) => c.name() === args[0])) return;
  if (
    args.length === 2 &&
    kina.commands.some((c) => c.commands.some((s) => s.name() === args[1] && c.name() === args[0]))
  )
    return;
  await kina.parseAsync(args, { from: 'user' });
});
