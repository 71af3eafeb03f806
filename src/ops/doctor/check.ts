/**
 * The checks of `kina doctor`: each examines one requirement for building images and running clusters, and reports what
 * it found and what to do. A check reads the machine only through `Probes`, which tests replace. A check that fails is
 * reported as `unknown` and does not keep the others from running.
 */
import { KinaError } from '../../host/errors.ts';
import type { ProcessResult } from '../../host/process.ts';
import type { Store } from '../../oci/store/store.ts';
import type { NodeStatus, Provider } from '../../provider/provider.ts';

/** `warn`: works with a limitation; `fail`: something will not work; `unknown`: the check could not decide. */
export type State = 'ok' | 'warn' | 'fail' | 'unknown';

export interface DoctorOutcome {
  readonly state: State;
  /** What the check found, without a full stop. */
  readonly found: string;
  /** What to do; absent for `ok`. */
  readonly advice?: string;
}

export interface DoctorCheck {
  /** Stable: it is part of the JSON output. */
  readonly id: string;
  readonly title: string;
  /** Default: on every machine. */
  applies?(probes: Probes): boolean;
  run(probes: Probes): Promise<DoctorOutcome>;
}

export interface Finding extends DoctorOutcome {
  readonly id: string;
  readonly title: string;
}

/** A container engine and whether it works. */
export interface FoundEngine {
  readonly provider: Provider;
  /** Undefined when the engine does not work; then `problem` says why. */
  readonly version: string | undefined;
  readonly installed: boolean;
  readonly problem: string | undefined;
  readonly advice: string | undefined;
}

/** The answer of a server, or the reason why there is none. */
export interface Answer {
  readonly url: string;
  /** Clock of the server, milliseconds since 1970. */
  readonly date?: number | undefined;
  readonly problem?: string | undefined;
}

/** Everything that checks read from the machine. */
export interface Probes {
  readonly platform: NodeJS.Platform;
  /** Undefined on systems without user IDs. */
  readonly uid: number | undefined;
  /** Folder of the store. */
  readonly folder: string;
  readonly now: () => number;
  /** Bytes. */
  readonly memory: () => Promise<{ readonly total: number; readonly available: number }>;
  /** Free bytes on the disk of a path, which need not exist. */
  readonly freeDisk: (path: string) => Promise<number>;
  /** Undefined when the file does not exist. */
  readonly readText: (path: string) => Promise<string | undefined>;
  /** Throws `not-found` when the program is not installed. */
  readonly run: (argv: readonly string[]) => Promise<ProcessResult>;
  readonly engines: () => Promise<readonly FoundEngine[]>;
  readonly nodes: (engine: FoundEngine) => Promise<readonly NodeStatus[]>;
  /** Undefined when the store does not exist yet; the probe does not create it. */
  readonly store: () => Promise<Store | undefined>;
  /** The servers that kina downloads from, or their mirrors. Empty when offline. */
  readonly upstreams: () => Promise<readonly Answer[]>;
}

export const ok = (found: string): DoctorOutcome => ({ state: 'ok', found });
export const bad = (state: Exclude<State, 'ok'>, found: string, advice: string): DoctorOutcome => ({
  state,
  found,
  advice,
});

/** Runs the checks at the same time. `each` is called in the order of the checks, as soon as possible. */
export async function examine(
  checks: readonly DoctorCheck[],
  probes: Probes,
  each: (finding: Finding) => void = () => {},
): Promise<Finding[]> {
  const running = checks
    .filter((check) => check.applies?.(probes) ?? true)
    .map(async ({ id, title, run }): Promise<Finding> => ({ id, title, ...(await run(probes).catch(unknownOutcome)) }));
  const findings: Finding[] = [];
  for (const one of running) {
    const finding = await one;
    findings.push(finding);
    each(finding);
  }
  return findings;
}

function unknownOutcome(error: unknown): DoctorOutcome {
  const known = error instanceof KinaError ? error : undefined;
  const what = [error instanceof Error ? error.message : String(error), ...(known?.details ?? []).slice(0, 2)];
  return bad('unknown', what.join(': '), known?.hint ?? 'Check it by hand.');
}

/** 1 for a failure, 2 when a check could not decide, else 0. */
export function exitCode(findings: readonly Finding[]): 0 | 1 | 2 {
  if (findings.some(({ state }) => state === 'fail')) return 1;
  return findings.some(({ state }) => state === 'unknown') ? 2 : 0;
}
