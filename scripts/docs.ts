/** Writes docs/commands.md from the commands themselves; `--check` fails when the file is not up to date. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { program } from '../src/cli/main.ts';

function section(command: Command, path: string): string[] {
  if (command.commands.length > 0) {
    const visible = command.createHelp().visibleCommands(command);
    return visible.filter((c) => c.name() !== 'help').flatMap((c) => section(c, `${path} ${c.name()}`));
  }
  const usage = `${path} ${command.usage()}`;
  const lines = [`## \`${path}\``, '', `${command.description()}.`, '', '```', usage, '```', ''];
  const args = command.registeredArguments.filter((a) => a.description);
  if (args.length > 0) lines.push(...args.map((a) => `- \`${a.name()}\`: ${a.description}`), '');
  if (command.options.length > 0) {
    lines.push('| flag | meaning |', '|---|---|');
    for (const option of command.options) {
      const standard = option.defaultValue;
      const shown = typeof standard === 'string' && standard !== '' ? ` (default: ${standard})` : '';
      lines.push(
        `| \`${option.flags.replaceAll('|', '\\|')}\` | ${option.description.replaceAll('|', '\\|')}${shown} |`,
      );
    }
    lines.push('');
  }
  return lines;
}

const kina = program();
const text = `${[
  '# Commands',
  '',
  'Made from the commands by `npm run docs`.',
  '',
  'Answers go to stdout, everything else to stderr. `--quiet` leaves only answers, warnings and errors; `--json` answers as JSON.',
  'Everywhere: `-v N` (`--verbosity N`) says more, as in kind: 1 stack traces, 2 the configuration of kubeadm, 3 its output, 5 the',
  "network's manifest; `--verbose` is `-v 1`.",
  '',
  '| exit code | means |',
  '|---|---|',
  '| 0 | done |',
  '| 1 | failed |',
  '| 2 | wrong input: flags, recipe, lock or cluster configuration |',
  '| 130 | interrupted |',
  '',
  '| variable | means |',
  '|---|---|',
  "| `KINA_CACHE_DIR` | the store; default: the platform's cache folder |",
  '| `KINA_CLUSTER_NAME`, `KIND_CLUSTER_NAME` | default of `--name`, the first one first |',
  '| `KINA_PROVIDER`, `KIND_EXPERIMENTAL_PROVIDER` | default of `--provider`, the first one first |',
  "| `KINA_CONFIG` | the user's config file; default `~/.config/kina/config.yaml` |",
  '| `KINA_MIRROR`, `KINA_DEBIAN_MIRROR`, `KINA_DEBIAN_SECURITY_MIRROR` | mirrors |',
  '| `KINA_DEBIAN_CHECK_VALID_UNTIL` | `false` for a Debian mirror that is frozen on purpose |',
  '| `SOURCE_DATE_EPOCH` | the time stamp of everything in the image, seconds |',
  '| `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`, `NO_COLOR`, `CI` | as usual |',
  '',
  ...section(kina, 'kina'),
].join('\n')}`;

const file = join(import.meta.dirname, '..', 'docs', 'commands.md');
if (process.argv.includes('--check')) {
  if (readFileSync(file, 'utf8') !== text) {
    console.error('docs/commands.md is out of date: run `npm run docs`');
    process.exit(1);
  }
} else writeFileSync(file, text);
