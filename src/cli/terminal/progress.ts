/** Progress on stderr: live lines on a terminal, plain lines elsewhere, only warnings with `--quiet`. */
import { type Reporter, silent } from '../../host/progress.ts';
import { LiveProgress } from './progress-live.ts';
import { PlainProgress } from './progress-plain.ts';
import { warn } from './stderr.ts';

export interface ProgressReporter extends Reporter {
  /** Ends the live lines; afterwards stderr may be written to freely. */
  finish(): Promise<void>;
}

export function createReporter({ live, quiet }: { live: boolean; quiet: boolean }): ProgressReporter {
  if (quiet) return { ...silent, warn, finish: async () => {} };
  const progress = live ? new LiveProgress() : new PlainProgress();
  // Plain functions, because reporters are spread and their functions are handed on alone.
  return {
    task: (kind, title) => progress.task(kind, title),
    expect: (kind, count, size) => progress.expect(kind, count, size),
    warn: (message) => progress.warn(message),
    info: (message) => progress.info(message),
    finish: () => progress.finish(),
  };
}
