/**
 * Typed errors: what happened, to what, and what the person can do next.
 *
 * Every room throws `KinaError`; only `cli/main.ts` turns one into text and an exit code. Anything else that reaches
 * the command line is a defect of kina and is reported as such.
 */

/** Kinds of failure, stable for `--json` and for tests. */
export type ErrorCode =
  | 'usage' // a flag or argument is wrong
  | 'recipe' // a recipe or variable is wrong
  | 'config' // a cluster configuration is wrong, or its patches do not fit
  | 'lock' // recipe and lock disagree, or the lock is unreadable
  | 'network' // a server could not be reached or answered with an error
  | 'not-found' // a definite "no such thing" (HTTP 404, absent image, absent file)
  | 'offline' // the network was forbidden and the store does not hold it
  | 'integrity' // size, digest or signature differs from what was promised
  | 'archive' // malformed or hostile archive
  | 'debian' // dependency or package trouble
  | 'compile' // a source tree's own build failed
  | 'conflict' // two owners claim one path
  | 'platform' // wrong architecture
  | 'store' // the store is damaged or busy
  | 'provider' // a container runtime refused or failed
  | 'cluster' // a cluster or node is not in the state that the work needs
  | 'kubeconfig' // a kubeconfig cannot be read, understood, locked or written
  | 'busy' // more at once than is served; later it will work
  | 'disk-full'
  | 'interrupted'
  | 'internal';

export interface ErrorOptions {
  /** What to do next, one or two sentences, imperative. */
  hint?: string;
  /** Further lines, one fact each: every problem found, every place involved. */
  details?: readonly string[];
  cause?: unknown;
}

export class KinaError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: readonly string[];

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'KinaError';
    this.code = code;
    this.hint = options.hint;
    this.details = options.details ?? [];
  }
}

/** The documented exit codes: 1 failure, 2 wrong input (flags, recipe, lock, cluster configuration), 130 interrupted. */
export function exitCodeOf(error: unknown): number {
  if (!(error instanceof KinaError)) return 1;
  if (error.code === 'interrupted') return 130;
  return ['usage', 'recipe', 'lock', 'config'].includes(error.code) ? 2 : 1;
}

/** True for a Node system error with one of these codes, e.g. `isErrno(e, 'ENOENT')`. */
export function isErrno(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code));
}
