/**
 * What can stand at a place of a command line: commands, flags, and values that are looked up. The scripts of
 * `kina completion` call `kina __complete -- WORD…` at every press of the key.
 */
import { type Command, describeFlag, type Flag, longName, shortName, takesValue, type Values } from './command.ts';
import { commands, globalFlags, groups } from './registry.ts';

const help = { command: 'help\tprint help for a command', flag: '--help\tprint help' };

/**
 * Lines `VALUE` or `VALUE<tab>DESCRIPTION` that begin with the last of `words`. Empty when nothing is known or a look-up
 * fails; shells then offer files.
 */
export async function candidates(words: readonly string[]): Promise<string[]> {
  // bash makes three words of --name=value
  const typed = words.filter((word, i) => word !== '=' || i === words.length - 1);
  const last = typed.at(-1) === '=' ? '' : (typed.at(-1) ?? '');
  const matching = (lines: readonly string[]): string[] => lines.filter((line) => line.startsWith(last));
  const place = placeAfter(typed.slice(0, -1));
  if (place.waiting)
    return matching(await valuesOf(place.waiting.options.values ?? place.waiting.options.choices, last));
  if (place.flagsAllowed && last.startsWith('-')) return matching(flagLines(place.path));
  const children = subcommands(place.path);
  if (children.length > 0) return matching([...children, help.command]);
  const args = commandAt(place.path)?.arguments ?? [];
  // The last argument may stand for several.
  return matching(await valuesOf(args[Math.min(place.arguments, args.length - 1)]?.values, last));
}

interface Place {
  /** The words of the command so far. */
  readonly path: string;
  /** The flag before, which waits for its value. */
  readonly waiting: Flag | undefined;
  /** How many arguments the command has already. */
  readonly arguments: number;
  /** False after `--`. */
  readonly flagsAllowed: boolean;
}

function placeAfter(words: readonly string[]): Place {
  let path = '';
  let waiting: Flag | undefined;
  let count = 0;
  for (const [i, word] of words.entries()) {
    if (word === '--')
      return { path, waiting: undefined, arguments: count + words.length - i - 1, flagsAllowed: false };
    if (waiting) waiting = undefined;
    else if (word.startsWith('-')) {
      const found = flagsAt(path).find((one) => longName(one) === word || shortName(one) === word);
      waiting = found && takesValue(found) ? found : undefined;
    } else {
      const child = childPath(path, word);
      if (child !== undefined) path = child;
      else count++;
    }
  }
  return { path, waiting, arguments: count, flagsAllowed: true };
}

function commandAt(path: string): Command | undefined {
  return commands.find((command) => command.name === path);
}

function flagsAt(path: string): readonly Flag[] {
  return [...(commandAt(path)?.flags ?? []), ...globalFlags];
}

/** The path of the group or command that `word` names below `path`; aliases count. */
function childPath(path: string, word: string): string | undefined {
  const child = path === '' ? word : `${path} ${word}`;
  if (child in groups) return child;
  return commands.find(({ name, alias }) => name === child || (alias && name.replace(/\S+$/, alias) === child))?.name;
}

/** `NAME<tab>SUMMARY` of what is directly below `path`. */
function subcommands(path: string): string[] {
  const prefix = path === '' ? '' : `${path} `;
  const lines = commands
    .filter(({ name }) => name.startsWith(prefix))
    .map(({ name, summary }) => {
      const [child = '', ...deeper] = name.slice(prefix.length).split(' ');
      return `${child}\t${deeper.length > 0 ? groups[child] : summary}`;
    });
  return [...new Set(lines)];
}

function flagLines(path: string): string[] {
  const version = path === '' ? ['--version\tprint the version'] : [];
  return [...flagsAt(path).map((one) => `${longName(one)}\t${describeFlag(one)}`), ...version, help.flag];
}

/** In a comma-separated list the part after the last comma is completed. */
async function valuesOf(values: Values | readonly string[] | undefined, last: string): Promise<string[]> {
  if (values === undefined) return [];
  const head = last.slice(0, last.lastIndexOf(',') + 1);
  try {
    return (typeof values === 'function' ? await values() : values).map((value) => head + value);
  } catch {
    return [];
  }
}
