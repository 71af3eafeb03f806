/** The command line: dispatch, global flags, exit codes (0 done, 1 failed, 2 wrong input, 130 interrupted). No logic. */
import { Command, CommanderError, Option } from 'commander';
import { KinaError } from '../host/errors.ts';
import { didYouMean } from '../host/suggest.ts';
import { buildCommand } from './commands/build.ts';
import { cacheCommand } from './commands/cache.ts';
import { ciCommand } from './commands/ci.ts';
import {
  configCommand,
  createCommand,
  deleteCommand,
  execCommand,
  exportCommand,
  getCommand,
  loadCommand,
  startCommand,
  stopCommand,
} from './commands/cluster.ts';
import { completeCommand, completionCommand } from './commands/completion.ts';
import { copyCommand } from './commands/copy.ts';
import { criCommand } from './commands/cri.ts';
import { doctorCommand } from './commands/doctor.ts';
import { imageCommand } from './commands/image.ts';
import { lockCommand } from './commands/lock.ts';
import { mirrorCommand } from './commands/mirror.ts';
import { outdatedCommand } from './commands/outdated.ts';
import { pullCommand, pushCommand } from './commands/push.ts';
import { recipeCommand } from './commands/recipe.ts';
import { signCommand } from './commands/sign.ts';
import { verifyCommand } from './commands/verify.ts';
import { versionCommand } from './commands/version.ts';
import { reportError, version } from './terminal/context.ts';

export function program(): Command {
  const kina = new Command('kina')
    .description('Kubernetes node images and clusters for Apple container, docker and podman')
    .version(`kina version ${version}`, '--version', 'print the version')
    .option('-q, --quiet', 'print nothing but answers, warnings and errors', false)
    .option('-v, --verbosity <level>', 'say more: 1 stack traces, 2 configurations, 3 output of kubeadm', level, 0)
    .addOption(new Option('--verbose', 'the same as --verbosity 1').implies({ verbosity: 1 }));
  kina.addCommand(createCommand());
  kina.addCommand(deleteCommand());
  kina.addCommand(getCommand());
  kina.addCommand(startCommand());
  kina.addCommand(stopCommand());
  kina.addCommand(loadCommand());
  kina.addCommand(exportCommand());
  kina.addCommand(execCommand());
  kina.addCommand(configCommand());
  kina.addCommand(buildCommand());
  kina.addCommand(lockCommand());
  kina.addCommand(outdatedCommand());
  kina.addCommand(mirrorCommand());
  kina.addCommand(imageCommand());
  kina.addCommand(pushCommand());
  kina.addCommand(pullCommand());
  kina.addCommand(copyCommand());
  kina.addCommand(ciCommand());
  kina.addCommand(signCommand());
  kina.addCommand(verifyCommand());
  kina.addCommand(cacheCommand());
  kina.addCommand(criCommand());
  kina.addCommand(recipeCommand());
  kina.addCommand(completionCommand());
  kina.addCommand(doctorCommand());
  kina.addCommand(versionCommand());
  kina.addCommand(
    completeCommand(() => kina),
    { hidden: true },
  );
  settle(kina);
  return kina;
}

function level(value: string): number {
  if (/^\d+$/.test(value)) return Number(value);
  throw new KinaError('usage', `--verbosity ${value}: expected a number from 0 to 5`);
}

/** What the arguments ask for, wherever they fail to be understood: kind reads these two before everything else. */
function verbosityOf(argv: readonly string[]): number {
  if (argv.includes('--verbose')) return 1;
  return Number(/(?:^| )(?:-v|--verbosity)[ =]?(\d+)/.exec(argv.join(' '))?.[1] ?? 0);
}

/** Every command throws instead of exiting, writes its errors through `reportError`, and knows what was meant. */
function settle(command: Command): void {
  command
    .exitOverride()
    .showSuggestionAfterError(false)
    // Help that was not asked for is no answer: it goes to stderr.
    .configureOutput({ writeErr: (text) => void process.stderr.write(`${text}\n`), outputError: () => {} })
    .configureHelp({ optionDescription: describeOption });
  if (command.commands.length > 0)
    command.on('command:*', ([unknown = '']: string[]) => {
      const names = command
        .createHelp()
        .visibleCommands(command)
        .map((c) => c.name());
      throw new KinaError(
        'usage',
        `${commandPath(command)} has no command ${JSON.stringify(unknown)}${didYouMean(unknown, names)}`,
        { hint: `Commands: ${names.join(', ')}.` },
      );
    });
  for (const child of command.commands) settle(child);
}

/** commander's own words, without the defaults that say nothing: off, and an empty list. */
function describeOption({ description, defaultValue }: Option): string {
  return typeof defaultValue === 'string' ? `${description} (default: ${defaultValue})` : description;
}

function commandPath(command: Command): string {
  return command.parent ? `${commandPath(command.parent)} ${command.name()}` : command.name();
}

/** What commander says about arguments, in kina's form. */
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

/** The innermost command that the arguments name, as far as they do. */
function namedCommand(kina: Command, argv: readonly string[]): Command {
  let command = kina;
  for (const word of argv) {
    const child = command.commands.find((c) => c.name() === word || c.aliases().includes(word));
    if (child) command = child;
  }
  return command;
}

export async function main(argv: string[]): Promise<void> {
  // A reader that has seen enough of an answer (`kina … | head`) is no failure; whoever writes an archive looks itself.
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
