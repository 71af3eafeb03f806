/** What every command shares: global flags, cancellation, the way answers and errors are printed. */

import { readFileSync } from 'node:fs';
import { processEnvironment } from '../../host/environment.ts';
import { exitCodeOf, KinaError } from '../../host/errors.ts';
import type { ProgressReporter } from './progress.ts';

export interface GlobalFlags {
  readonly quiet: boolean;
  /** 0 to 5, what each adds is kind's: 1 stack traces, 2 kubeadm's configuration, 3 its output, 5 the network's manifest. */
  readonly verbosity: number;
}

/** kina's version, from the package it was installed with. */
export const version: string = (
  JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { version: string }
).version;

/** The answer: stdout, nothing else goes there. */
export function answer(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

export function answerJson(value: unknown): void {
  answer(JSON.stringify(value, null, 2));
}

/** Runs a command's work with progress and Ctrl-C; the first signal cancels cleanly, the second one ends at once. */
export async function withProgress<T>(
  flags: GlobalFlags,
  work: (reporter: ProgressReporter, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { createReporter } = await import('./progress.ts');
  const reporter = createReporter({ live: isLive(), quiet: flags.quiet });
  try {
    return await withSignal((signal) => work(reporter, signal));
  } finally {
    await reporter.finish();
  }
}

/** The same without progress. */
export async function withSignal<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  let asked = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (asked) process.exit(130);
    asked = true;
    controller.abort(
      new KinaError('interrupted', `interrupted by ${signal}`, {
        hint: 'Run the same command again: what was fetched and built so far is kept.',
      }),
    );
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    return await work(controller.signal);
  } catch (error) {
    // Whatever broke because of the cancellation, the cancellation is the reason.
    if (controller.signal.aborted) throw controller.signal.reason;
    controller.abort(new KinaError('interrupted', 'something else failed'));
    throw error;
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}

/** Live drawing needs a capable terminal. */
export function isLive(): boolean {
  return Boolean(process.stderr.isTTY) && !processEnvironment().CI && processEnvironment().TERM !== 'dumb';
}

/** Prints an error for people (stderr), or as JSON where the command was asked for it, and sets the exit code. */
export function reportError(error: unknown, options: { verbose: boolean; json: boolean }): void {
  process.exitCode = exitCodeOf(error);
  const known = error instanceof KinaError ? error : unforeseen(error);
  if (options.json)
    process.stdout.write(
      `${JSON.stringify({ error: { code: known.code, message: known.message, details: known.details, hint: known.hint } })}\n`,
    );
  const lines = [`ERROR: ${known.message}`, ...known.details.map((d) => `  ${d}`)];
  if (known.hint) lines.push(known.hint);
  process.stderr.write(`${lines.join('\n')}\n`);
  if (options.verbose)
    for (let e: unknown = error; e instanceof Error; e = e.cause) process.stderr.write(`\n${e.stack ?? e.message}\n`);
}

/** What no room explained: the machine said no (a system call failed), or kina is wrong. */
function unforeseen(error: unknown): KinaError {
  const system = error instanceof Error && 'syscall' in error && 'code' in error;
  return new KinaError('internal', error instanceof Error ? error.message : String(error), {
    cause: error,
    hint: system
      ? 'The system refused this. If file, folder and rights are as they should be, please report it with --verbose.'
      : 'This is a defect of kina; please report it with the output of the same command and --verbose.',
  });
}
