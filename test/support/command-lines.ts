/** kina's command lines in other people's files, checked against the commands that kina has. */
import type { Command } from 'commander';

/** Every `kina …` in a shell script, as words; quotes are taken off, `$…` stays. */
export function kinaCommands(script: string): string[][] {
  const found: string[][] = [];
  for (const line of script.replaceAll('\\\n', ' ').split('\n'))
    for (const match of line.matchAll(/(?:^|[\s;&|(])kina ((?:"[^"]*"|'[^']*'|[^"'|;&<>)])*)/g))
      found.push(wordsOf(match[1] ?? ''));
  return found;
}

function wordsOf(text: string): string[] {
  return [...text.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)].map(([word]) => word.replace(/["']/g, ''));
}

/** What is wrong with a command line: an unknown command, flag, choice or number of arguments. Undefined when nothing is. */
export function problemWith(root: Command, words: readonly string[]): string | undefined {
  let command = root;
  let i = 0;
  for (; command.commands.length > 0; i++) {
    const child = command.commands.find((one) => one.name() === words[i]);
    if (!child) return `${words.join(' ')}: no command ${words[i]}`;
    command = child;
  }
  let values = 0;
  for (; i < words.length; i++) {
    const word = words[i] as string;
    if (word === '--') {
      values += words.length - i - 1;
      break;
    }
    if (!word.startsWith('-')) {
      values++;
      continue;
    }
    const [flag = '', inline] = word.split(/=(.*)/s);
    const option = [...command.options, ...root.options].find((one) => one.long === flag || one.short === flag);
    if (!option) return `${words.join(' ')}: no flag ${flag}`;
    if (!option.required) {
      if (inline !== undefined) return `${words.join(' ')}: ${flag} takes no value`;
      continue;
    }
    const value = inline ?? words[++i];
    if (value === undefined || value.startsWith('--')) return `${words.join(' ')}: ${flag} lacks its value`;
    if (option.argChoices && !option.argChoices.includes(value))
      return `${words.join(' ')}: ${flag} does not accept ${value}`;
  }
  const wanted = command.registeredArguments;
  if (values < wanted.filter((one) => one.required).length) return `${words.join(' ')}: an argument is missing`;
  if (values > wanted.length && !wanted.at(-1)?.variadic) return `${words.join(' ')}: too many arguments`;
  return undefined;
}
