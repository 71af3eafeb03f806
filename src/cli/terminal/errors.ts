/** Errors on stderr, and on stdout as JSON with `--json`. */
import { exitCodeOf, KinaError } from '../../host/errors.ts';
import { print } from './stderr.ts';

/** Prints an error and sets the exit code. */
export function reportError(error: unknown, options: { verbose: boolean; json: boolean }): void {
  process.exitCode = exitCodeOf(error);
  const known = error instanceof KinaError ? error : unexpected(error);
  const { code, message, details, hint } = known;
  if (options.json) process.stdout.write(`${JSON.stringify({ error: { code, message, details, hint } })}\n`);
  print([`ERROR: ${message}`, ...details.map((detail) => `  ${detail}`), ...(hint ? [hint] : [])].join('\n'));
  if (options.verbose) for (let e: unknown = error; e instanceof Error; e = e.cause) print(`\n${e.stack ?? e.message}`);
}

/** An error that no code of kina explained: a failed system call, or a bug. */
function unexpected(error: unknown): KinaError {
  const system = error instanceof Error && 'syscall' in error && 'code' in error;
  return new KinaError('internal', error instanceof Error ? error.message : String(error), {
    cause: error,
    hint: system
      ? 'A system call failed. If files and permissions are correct, please report it with the output of --verbose.'
      : 'This is a bug in kina. Please report it with the output of the same command and --verbose.',
  });
}
