/**
 * `kina doctor`: what has to be right on a machine so that images build and clusters run, each thing as a check that
 * says what it found and what to do. A check sees the machine through `Probes` alone, so that a test can break anything;
 * one that fails itself is a check that could not tell, and never keeps the others from being made.
 */
import { KinaError } from '../../host/errors.ts';
import type { ProcessResult } from '../../host/process.ts';
import type { Store } from '../../oci/store/store.ts';
import type { NodeStatus, Provider } from '../../provider/provider.ts';

/** `warn`: works, and somebody should know; `fail`: something will not work; `unknown`: could not be told. */
export type State = 'ok' | 'warn' | 'fail' | 'unknown';

export interface Outcome {
  readonly state: State;
  /** What there is, in half a sentence. */
  readonly found: string;
  /** What to do; with everything but `ok`. */
  readonly advice?: string;
}

/** A check, or several of one kind; ids are stable. */
export interface Check {
  readonly id: string;
  readonly title: string;
  /** Absent: everywhere. */
  applies?(probes: Probes): boolean;
  run(probes: Probes): Promise<Outcome>;
}

export interface Finding extends Outcome {
  readonly id: string;
  readonly title: string;
}

/** An engine as it answered. */
export interface FoundEngine {
  readonly provider: Provider;
  /** Undefined: it does not work, and `problem` says why. */
  readonly version: string | undefined;
  readonly installed: boolean;
  readonly problem: string | undefined;
  readonly advice: string | undefined;
}

/** The answer of a server, or why there was none. */
export interface Answer {
  readonly url: string;
  /** The server's clock, milliseconds since 1970. */
  readonly date?: number | undefined;
  readonly problem?: string | undefined;
}

/** Everything that checks read of the machine. */
export interface Probes {
  readonly platform: NodeJS.Platform;
  /** Undefined where there are no numbers. */
  readonly uid: number | undefined;
  /** Of kina's store. */
  readonly folder: string;
  readonly now: () => number;
  /** Bytes. */
  readonly memory: () => Promise<{ readonly total: number; readonly available: number }>;
  /** Bytes free on the disk that holds a path, or would. */
  readonly freeDisk: (path: string) => Promise<number>;
  /** Undefined when it is not there. */
  readonly readText: (path: string) => Promise<string | undefined>;
  /** Throws `not-found` when there is no such program. */
  readonly run: (argv: readonly string[]) => Promise<ProcessResult>;
  readonly engines: () => Promise<readonly FoundEngine[]>;
  readonly nodes: (engine: FoundEngine) => Promise<readonly NodeStatus[]>;
  /** Undefined when there is none yet: looking makes none. */
  readonly store: () => Promise<Store | undefined>;
  /** What kina fetches from, or the mirrors that stand for it; none when the network is not to be used. */
  readonly upstreams: () => Promise<readonly Answer[]>;
}

export const ok = (found: string): Outcome => ({ state: 'ok', found });
export const bad = (state: Exclude<State, 'ok'>, found: string, advice: string): Outcome => ({ state, found, advice });

/** All findings in the order of the checks; `each` is told every one as soon as it and all before it are there. */
export async function examine(
  checks: readonly Check[],
  probes: Probes,
  each: (finding: Finding) => void = () => {},
): Promise<Finding[]> {
  const running = checks
    .filter((check) => check.applies?.(probes) ?? true)
    .map(async ({ id, title, run }): Promise<Finding> => ({ id, title, ...(await run(probes).catch(couldNotTell)) }));
  const findings: Finding[] = [];
  for (const one of running) {
    const finding = await one;
    findings.push(finding);
    each(finding);
  }
  return findings;
}

function couldNotTell(error: unknown): Outcome {
  const known = error instanceof KinaError ? error : undefined;
  const what = [error instanceof Error ? error.message : String(error), ...(known?.details ?? []).slice(0, 2)];
  return bad('unknown', what.join(': '), known?.hint ?? 'Look at it by hand.');
}

/** 1: something will not work; 2: something could not be told; 0. */
export function exitCode(findings: readonly Finding[]): 0 | 1 | 2 {
  if (findings.some(({ state }) => state === 'fail')) return 1;
  return findings.some(({ state }) => state === 'unknown') ? 2 : 0;
}
