/** The parser and the help, made from the records of `registry.ts`. */
import { Option, Command as Parser } from 'commander';
import { KinaError } from '../host/errors.ts';
import { didYouMean } from '../host/suggest.ts';
import { version } from '../session/version.ts';
import { type Command, describeFlag, exampleLines, type Flag } from './command.ts';
import { commands, globalFlags, groups } from './registry.ts';
import { answer } from './terminal/context.ts';

export function program(): Parser {
  const kina = new Parser('kina')
    .description('Kubernetes node images and clusters for Apple container, docker and podman')
    .version(`kina version ${version}`, '--version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command');
  for (const option of globalFlags.map(optionOf))
    kina.addOption(option.long === '--verbosity' ? option.argParser(verbosity).default(0) : option);
  kina.options.find((option) => option.long === '--verbose')?.implies({ verbosity: 1 });
  for (const command of commands) {
    const words = command.name.split(' ');
    const parent = words.slice(0, -1).reduce(group, kina);
    parent.addCommand(parserOf(command, words.at(-1)!));
  }
  kina.addCommand(completeCommand(), { hidden: true });
  settle(kina);
  return kina;
}

/** The group of this name, added to its parent when it comes up first. */
function group(parent: Parser, name: string): Parser {
  const known = parent.commands.find((one) => one.name() === name);
  if (known) return known;
  const created = new Parser(name).description(groups[name]!).helpCommand('help [command]', 'print help for a command');
  parent.addCommand(created);
  return created;
}

function parserOf(command: Command, name: string): Parser {
  const parser = new Parser(name).description(command.summary);
  if (command.alias) parser.alias(command.alias);
  for (const { name, description } of command.arguments) parser.argument(name, description);
  for (const one of command.flags) parser.addOption(optionOf(one));
  if (command.examples.length > 0)
    parser.addHelpText('after', ['', 'Examples:', ...exampleLines(command).map((line) => `  ${line}`)].join('\n'));
  if (command.notes) parser.addHelpText('after', `\n${command.notes}`);
  return parser.action(async (...parameters: unknown[]) => {
    const { run } = await command.load();
    await run(parser.optsWithGlobals() as never, ...(parameters.slice(0, -2) as never[]));
  });
}

function optionOf(flag: Flag): Option {
  const { default: standard, choices, repeatable } = flag.options;
  const option = new Option(flag.spec, flag.description);
  if (choices) option.choices([...choices]);
  if (standard !== undefined) option.default(standard);
  if (repeatable) option.argParser((value: string, all: string[]) => [...all, value]).default([]);
  if (!option.required && !option.negate) option.default(false);
  return option;
}

function verbosity(value: string): number {
  if (/^\d+$/.test(value)) return Number(value);
  throw new KinaError('usage', `--verbosity ${value}: expected a number from 0 to 5`);
}

/** What the completion scripts call. */
function completeCommand(): Parser {
  return new Parser('__complete')
    .description('print the candidates for the last word')
    .option('--new', 'the last word is empty and not given', false)
    .argument('[words...]', 'the words after kina')
    .action(async (words: string[], flags: { new: boolean }) => {
      const { candidates } = await import('./completion.ts');
      const lines = await candidates(flags.new || words.length === 0 ? [...words, ''] : words);
      if (lines.length > 0) answer(lines.join('\n'));
    });
}

/** Every command throws instead of exiting, writes its errors through `reportError`, and suggests the closest name. */
function settle(parser: Parser): void {
  parser
    .helpOption('-h, --help', 'print help')
    .exitOverride()
    .showSuggestionAfterError(false)
    // Help that is shown because of an error goes to stderr.
    .configureOutput({ writeErr: (text) => void process.stderr.write(`${text}\n`), outputError: () => {} })
    .configureHelp({ optionDescription });
  if (parser.commands.length > 0)
    parser.on('command:*', ([unknown = '']: string[]) => {
      const names = parser
        .createHelp()
        .visibleCommands(parser)
        .map((c) => c.name());
      throw new KinaError(
        'usage',
        `${commandPath(parser)} has no command ${JSON.stringify(unknown)}${didYouMean(unknown, names)}`,
        { hint: `Commands: ${names.join(', ')}.` },
      );
    });
  for (const child of parser.commands) settle(child);
}

/** commander shows every default; `false`, `0` and an empty list say nothing to the user. */
function optionDescription({ flags, description, defaultValue }: Option): string {
  const options = typeof defaultValue === 'string' ? { default: defaultValue } : {};
  return describeFlag({ spec: flags, description, options });
}

export function commandPath(parser: Parser): string {
  return parser.parent ? `${commandPath(parser.parent)} ${parser.name()}` : parser.name();
}
