/** Progress of a build followed by steps, e.g. of a cluster that needs an image first. */
import { type Reporter, type Steps, silent } from '../../host/progress.ts';
import { type GlobalFlags, isLive, withSignal } from './context.ts';
import { createReporter } from './progress.ts';
import { createSteps } from './steps.ts';

/**
 * The first step ends the display of the build: only one of them can redraw lines. Later tasks of the reporter, e.g. of a
 * build inside a step, are not shown.
 */
export async function withBuildAndSteps<T>(
  flags: GlobalFlags,
  work: (display: { readonly reporter: Reporter; readonly steps: Steps }, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const build = createReporter({ live: isLive(), quiet: flags.quiet });
  const shown = createSteps({ live: isLive(), quiet: flags.quiet, verbosity: flags.verbosity });
  let ended: Promise<void> | undefined;
  const messages = {
    warn: (message: string) => (ended ? shown : build).warn(message),
    info: (message: string) => (ended ? shown : build).info(message),
  };
  const reporter: Reporter = {
    ...messages,
    task: (kind, title) => (ended ? silent : build).task(kind, title),
    expect: (kind, count, bytes) => (ended ? silent : build).expect(kind, count, bytes),
  };
  const steps: Steps = {
    ...messages,
    debug: shown.debug,
    async step(title, body) {
      ended ??= build.finish();
      await ended;
      return shown.step(title, body);
    },
  };
  try {
    return await withSignal((signal) => work({ reporter, steps }, signal));
  } finally {
    await (ended ?? build.finish());
    await shown.finish();
  }
}
