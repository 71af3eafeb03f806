/** What every command shares: global flags, results on stdout, progress and cancellation. */
import { processEnvironment } from '../../host/environment.ts';
import { KinaError } from '../../host/errors.ts';
import type { ProgressReporter } from './progress.ts';

export interface GlobalFlags {
  readonly quiet: boolean;
  /** 0 to 5, as in kind: 1 stack traces, 2 kubeadm configurations, 3 kubeadm output, 5 the manifest of the network. */
  readonly verbosity: number;
}

/** Prints the result to stdout; nothing else goes there. */
export function answer(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

export function answerJson(value: unknown): void {
  answer(JSON.stringify(value, null, 2));
}

/** Runs work with progress and Ctrl-C: the first signal cancels it, the second one exits at once. */
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

/** Runs work with Ctrl-C, without progress. */
export async function withSignal<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  let asked = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (asked) process.exit(130);
    asked = true;
    controller.abort(
      new KinaError('interrupted', `interrupted by ${signal}`, {
        hint: 'Run the same command again to continue: downloads and finished layers are kept.',
      }),
    );
  };
  process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  try {
    return await work(controller.signal);
  } catch (error) {
    // Errors after a cancellation are its consequences.
    if (controller.signal.aborted) throw controller.signal.reason;
    controller.abort(new KinaError('interrupted', 'cancelled because of another error'));
    throw error;
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal);
  }
}

/** Whether stderr is a terminal that can redraw lines. */
export function isLive(): boolean {
  return Boolean(process.stderr.isTTY) && !processEnvironment().CI && processEnvironment().TERM !== 'dumb';
}
