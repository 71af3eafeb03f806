/**
 * How a call has ended, as the JSON that version 4 of the remote command protocol puts on its error stream: a Kubernetes
 * `Status` object (k8s.io/apimachinery, meta/v1), of which clients read `status`, `reason`, `message` and the exit code.
 */
import { KinaError } from '../../host/errors.ts';

export const success = JSON.stringify({ metadata: {}, status: 'Success' });

/** The status of a process that has run to its end. */
export function exitStatus(exitCode: number): string {
  if (exitCode === 0) return success;
  return JSON.stringify({
    metadata: {},
    status: 'Failure',
    message: `command terminated with exit code ${exitCode}`,
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: String(exitCode) }] },
  });
}

/** The status of a call that could not be made, or broke. */
export function failureStatus(error: unknown): string {
  return JSON.stringify({
    metadata: {},
    status: 'Failure',
    message: explain(error),
    reason: 'InternalError',
    code: 500,
  });
}

/** One line for people at the other end, who see neither logs nor hints otherwise. */
export function explain(error: unknown): string {
  if (error instanceof KinaError) return [error.message, ...error.details].join(': ');
  return error instanceof Error ? error.message : String(error);
}
