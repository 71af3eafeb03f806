/** The command line: dispatch, global flags, exit codes (0 done, 1 failed, 2 wrong input, 130 interrupted). No logic. */
import { type Command, CommanderError } from 'commander';
import { KinaError } from '../host/errors.ts';
import { didYouMean } from '../host/suggest.ts';
import { commandPath, program } from './program.ts';
import { reportError } from './terminal/errors.ts';

export async function main(argv: string[]): Promise<void> {
  // A closed pipe (`kina … | head`) is not a failure. Handlers that write an archive to stdout check for it themselves.
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  const flags = { verbose: verbosityOf(argv) > 0, json: argv.includes('--json') };
  const kina = program();
  if (argv.length === 0) return kina.outputHelp();
  try {
    await kina.parseAsync(argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) return reportError(error, flags);
    if (error.exitCode !== 0) reportError(usageError(error, kina, argv), flags);
  }
}

/** Read from the raw arguments, because an error may come before they are parsed. */
function verbosityOf(argv: readonly string[]): number {
  if (argv.includes('--verbose')) return 1;
  return Number(/(?:^| )(?:-v|--verbosity)[ =]?(\d+)/.exec(argv.join(' '))?.[1] ?? 0);
}

/** An error of the parser in kina's form. */
function usageError(error: CommanderError, kina: Command, argv: readonly string[]): KinaError {
  if (error.code === 'commander.help') return new KinaError('usage', 'a command is missing');
  const message = error.message.replace(/^error: /, '').replace(/^too many arguments.*/, 'too many arguments');
  const option = error.code === 'commander.unknownOption' ? /'(-[^']*)'/.exec(message)?.[1] : undefined;
  const command = namedCommand(kina, argv);
  const known = [command, kina].flatMap((c) => c.options.flatMap((o) => o.long ?? []));
  return new KinaError('usage', `${message}${option?.startsWith('--') ? didYouMean(option, known) : ''}`, {
    hint: `See \`${commandPath(command)} --help\`.`,
  });
}

/** The innermost command that the arguments name. */
function namedCommand(kina: Command, argv: readonly string[]): Command {
  let command = kina;
  for (const word of argv) {
    const child = command.commands.find((c) => c.name() === word || c.aliases().includes(word));
    if (child) command = child;
  }
  return command;
}
