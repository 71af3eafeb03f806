/** What may stand in a place of a command line: commands, flags, and values that are looked up. */
import type { Command, Option } from 'commander';
import { listClusters } from '../../cluster/state.ts';
import { providerNames } from '../../provider/provider.ts';

type Values = () => Promise<readonly string[]> | readonly string[];

const clusters: Values = async () => [...new Set((await listClusters({})).map((one) => one.name))];
const nodes: Values = async () => (await listClusters({})).flatMap((one) => one.nodes.map((node) => node.name));
const recipes: Values = async () => (await import('../../build/recipe/load.ts')).shippedRecipes();

/** By the long name of a flag. Flags that are not here take what kina cannot know, or a file. */
const flagValues: Readonly<Record<string, Values>> = {
  '--name': clusters,
  '--nodes': nodes,
  '--provider': () => providerNames,
  '--recipe': recipes,
  '--arch': () => ['amd64', 'arm64'],
  '--platform': () => ['linux/amd64', 'linux/arm64'],
  '--compression': () => ['none', 'zstd', 'gzip'],
  '--wait': () => ['0s', '5m'],
  '--verbosity': () => ['0', '1', '2', '3', '5'],
};

/** By command and the place of the argument; the last place stands for all that follow. */
const argumentValues: Readonly<Record<string, readonly Values[]>> = {
  'delete clusters': [clusters],
  exec: [nodes, () => []],
  'recipe show': [recipes],
  completion: [() => ['bash', 'zsh', 'fish', 'powershell']],
};

/** Lines `VALUE` or `VALUE<tab>DESCRIPTION` that begin with the last of `words`. Empty also when a look-up fails. */
export async function candidates(root: Command, words: readonly string[]): Promise<string[]> {
  // bash makes three words of --name=value
  const typed = words.filter((word, i) => word !== '=' || i === words.length - 1);
  const last = typed.at(-1) === '=' ? '' : (typed.at(-1) ?? '');
  const place = placeAfter(root, typed.slice(0, -1));
  const matching = (lines: readonly string[]): string[] => lines.filter((line) => line.startsWith(last));
  if (place.values) return matching(await valuesOf(place.values, last));
  if (place.flags && last.startsWith('-')) return matching(flags(root, place.command));
  const children = place.command.createHelp().visibleCommands(place.command);
  if (place.command.commands.length > 0)
    return matching(children.map((child) => `${child.name()}\t${child.description()}`));
  const known = argumentValues[pathOf(place.command)];
  const values = known?.[Math.min(place.arguments, known.length - 1)];
  return values ? matching(await valuesOf(values, last)) : [];
}

interface Place {
  readonly command: Command;
  /** Values of the flag that stands before; absent when no flag waits for one. */
  readonly values: Values | undefined;
  /** How many arguments the command has already. */
  readonly arguments: number;
  /** Flags may still come: there was no `--`. */
  readonly flags: boolean;
}

function placeAfter(root: Command, words: readonly string[]): Place {
  let command = root;
  let waiting: Option | undefined;
  let count = 0;
  for (const [i, word] of words.entries()) {
    if (word === '--') return { command, values: undefined, arguments: count + words.length - i - 1, flags: false };
    if (waiting) waiting = undefined;
    else if (word.startsWith('-')) {
      const option = [...command.options, ...root.options].find((one) => one.long === word || one.short === word);
      waiting = option?.required ? option : undefined;
    } else {
      const child = command.commands.find((one) => one.name() === word || one.aliases().includes(word));
      if (child) command = child;
      else count++;
    }
  }
  const values = waiting && (flagValues[waiting.long ?? ''] ?? (() => []));
  return { command, values, arguments: count, flags: true };
}

/** In a comma list the part after the last comma is what is completed. */
async function valuesOf(values: Values, last: string): Promise<string[]> {
  const head = last.slice(0, last.lastIndexOf(',') + 1);
  try {
    return (await values()).map((value) => head + value);
  } catch {
    return [];
  }
}

function flags(root: Command, command: Command): string[] {
  const all =
    command === root ? root.options : [...command.options, ...root.options.filter((one) => one.long !== '--version')];
  return [...all.map(({ long, description }) => `${long}\t${description}`), '--help\tdisplay help for command'];
}

function pathOf(command: Command): string {
  return command.parent?.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();
}
