/** Helpers of the cluster commands. */

import { text } from 'node:stream/consumers';
import { processEnvironment } from '../../../host/environment.ts';
import { KinaError } from '../../../host/errors.ts';
import { providerNames } from '../../../provider/provider.ts';
import { unknownKindProvider } from '../../../provider/select.ts';
import type { GlobalFlags } from '../../terminal/context.ts';
import { isLive, withSignal } from '../../terminal/context.ts';
import { warn } from '../../terminal/stderr.ts';
import { createSteps, type ShownSteps } from '../../terminal/steps.ts';

/** Flags of every command on an existing cluster. */
export interface ClusterFlags extends GlobalFlags {
  readonly name: string | undefined;
  readonly provider: string | undefined;
}

/** The cluster name, looked up as in kind: flag, environment, default. */
export function nameOf(flags: { readonly name?: string | undefined }): string {
  return flags.name || processEnvironment().KINA_CLUSTER_NAME || processEnvironment().KIND_CLUSTER_NAME || 'kina';
}

/** Warns when a variable names a provider that kina does not have. */
export function warnOfEnvironment(flags: { readonly provider?: string | undefined }): void {
  const unknown = flags.provider === undefined ? unknownKindProvider() : undefined;
  if (unknown) warn(`${unknown} is ignored: the providers are ${providerNames.join(', ')}`);
}

const units: Readonly<Record<string, number>> = { h: 3600, m: 60, s: 1, ms: 1e-3, us: 1e-6, µs: 1e-6, ns: 1e-9 };

/** A duration as Go writes them (`1h30m`, `90s`, `0`), in seconds. */
export function duration(value: string, flag: string): number {
  if (/^[+-]?0$/.test(value)) return 0;
  if (/^\d+(\.\d+)?$/.test(value))
    throw new KinaError('usage', `${flag} ${value}: missing unit in duration`, {
      hint: `Write ${value}s or ${value}m.`,
    });
  if (!/^(\d+(\.\d+)?(h|ms|us|µs|ns|m|s))+$/.test(value))
    throw new KinaError('usage', `${flag} ${value}: invalid duration`, {
      hint: 'Use a duration like 5m, 90s or 1h30m.',
    });
  const parts = [...value.matchAll(/(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)/g)];
  return parts.reduce((sum, [, number, unit]) => sum + Number(number) * units[unit!]!, 0);
}

/** Runs work with steps on stderr and Ctrl-C: the first signal cancels it. */
export async function withSteps<T>(
  flags: GlobalFlags,
  work: (steps: ShownSteps, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const steps = createSteps({ live: isLive(), quiet: flags.quiet, verbosity: flags.verbosity });
  try {
    return await withSignal((signal) => work(steps, signal));
  } finally {
    await steps.finish();
  }
}

/** A configuration file, or standard input for `-`. */
export async function readConfig(
  file: string | undefined,
): Promise<{ readonly file: string | undefined; readonly text?: string }> {
  return file === '-' ? { text: await text(process.stdin), file: '(standard input)' } : { file };
}

/** Prints to stderr unless `--quiet` is given. */
export function say(flags: GlobalFlags, text: string): void {
  if (!flags.quiet) process.stderr.write(`${text}\n`);
}
