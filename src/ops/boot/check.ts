/** The checks of a boot test and their outcomes. */
import { lastLines } from '../../host/process.ts';
import type { BootTarget, ShellResult } from './target.ts';

export type BootOutcome =
  | { readonly status: 'passed' /** What was found, in a few words. */; readonly detail: string }
  | {
      readonly status: 'failed';
      /** One sentence. */
      readonly reason: string;
      /** The node's output about it. */
      readonly output: string;
    }
  | { readonly status: 'skipped'; readonly reason: string };

export interface BootCheck {
  /** Stable, for scripts. */
  readonly id: string;
  readonly title: string;
  /** Ids of checks that must pass before this one makes sense. */
  readonly needs: readonly string[];
  /** Run only with `--init`. */
  readonly init?: true;
  run(node: BootTarget): Promise<BootOutcome>;
}

export const passed = (detail: string): BootOutcome => ({ status: 'passed', detail });
export const skipped = (reason: string): BootOutcome => ({ status: 'skipped', reason });
export function failed(reason: string, output: string | ShellResult = ''): BootOutcome {
  const text = typeof output === 'string' ? output : `${output.stdout}${output.stderr}`;
  return { status: 'failed', reason, output: lastLines(text, 60).join('\n') };
}

/** The time limit in seconds for something that takes at most `usual` without emulation. */
export function within(node: BootTarget, usual: number): { timeout: number } {
  return { timeout: usual * node.patience };
}

/** A shell command that writes `text` to a file, safe for any text. */
export function writing(path: string, text: string): string {
  return `mkdir -p "$(dirname ${path})" && echo ${Buffer.from(text).toString('base64')} | base64 -d >${path}`;
}
