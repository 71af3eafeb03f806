/** The command line: dispatch, global flags, exit codes (0 done, 1 failed, 2 wrong input, 130 interrupted). No logic. */
import { Command, CommanderError } from 'commander';
import { KinaError } from '../host/errors.ts';
import { buildCommand } from './build.ts';
import { cacheCommand } from './cache.ts';
import { reportError, version } from './context.ts';
import { imageCommand } from './image.ts';
import { lockCommand } from './lock.ts';
import { versionCommand } from './version.ts';

export function program(): Command {
  const kina = new Command('kina')
    .description('Kubernetes node images and clusters for Apple container, docker and podman')
    .version(`kina version ${version}`, '--version', 'print the version')
    .option('-q, --quiet', 'print nothing but answers, warnings and errors', false)
    .option('--verbose', 'print stack traces with errors', false)
    .helpCommand(false)
    .showHelpAfterError(false)
    .enablePositionalOptions(false);
  kina.addCommand(buildCommand());
  kina.addCommand(lockCommand());
  kina.addCommand(imageCommand());
  kina.addCommand(cacheCommand());
  kina.addCommand(versionCommand());
  settle(kina);
  return kina;
}

/** Every command throws instead of exiting, and writes its errors through `reportError`. */
function settle(command: Command): void {
  command.exitOverride().configureOutput({ writeErr: () => {}, outputError: () => {} });
  if (command.commands.length > 0)
    command.action(() => {
      if (command.parent) {
        command.outputHelp();
        throw new KinaError('usage', `${commandPath(command)} needs a command`, {
          hint: `One of: ${command.commands.map((c) => c.name()).join(', ')}.`,
        });
      }
      command.outputHelp();
    });
  for (const child of command.commands) settle(child);
}

function commandPath(command: Command): string {
  return command.parent ? `${commandPath(command.parent)} ${command.name()}` : command.name();
}

export async function main(argv: string[]): Promise<void> {
  // A reader that stops early (`kina … | head`) is no failure.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0);
    throw error;
  });
  const flags = { verbose: argv.includes('--verbose'), json: argv.includes('--json') };
  try {
    await program().parseAsync(argv, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return;
      const [first, ...rest] = error.message.replace(/^error: /, '').split('\n');
      return reportError(
        new KinaError('usage', first ?? 'wrong arguments', {
          details: rest.filter((l) => l !== ''),
          hint: 'Add --help to see what the command takes.',
        }),
        flags,
      );
    }
    reportError(error, flags);
  }
}
