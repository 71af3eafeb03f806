/**
 * Typed errors: what happened, to what, and what to do next.
 *
 * Every room throws `KinaError`; only `cli/main.ts` turns one into text and an exit code. Any other error that reaches
 * the command line is a bug in kina and is reported as one.
 */

/** Failure categories, stable for `--json` and for tests. */
export type ErrorCode =
  | 'usage' // a flag or argument is wrong
  | 'recipe' // a recipe or variable is wrong
  | 'config' // a cluster configuration is wrong, or its patches do not fit
  | 'lock' // the lock does not match the recipe, or the lock is unreadable
  | 'network' // a server could not be reached or answered with an error
  | 'not-found' // it does not exist (HTTP 404, missing image, missing file)
  | 'offline' // not in the store, and --offline forbids fetching it
  | 'integrity' // wrong size, digest or signature
  | 'archive' // malformed or malicious archive
  | 'debian' // Debian package or dependency problem
  | 'compile' // a source tree's own build failed
  | 'conflict' // two owners for one path
  | 'platform' // wrong architecture
  | 'store' // the store is damaged or busy
  | 'provider' // a container runtime refused or failed
  | 'cluster' // a cluster or node is in the wrong state for the operation
  | 'kubeconfig' // a kubeconfig cannot be read, parsed, locked or written
  | 'busy' // too many requests at once; retry later
  | 'disk-full'
  | 'interrupted'
  | 'internal';

export interface ErrorOptions {
  /** What to do next: one or two imperative sentences. */
  hint?: string;
  /** More lines, one fact each: every problem, every place involved. */
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
