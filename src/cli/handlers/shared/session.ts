/** The session of a command: its flags, this process's environment and the user's configuration. */

import { processEnvironment } from '../../../host/environment.ts';
import { type Reporter, silent } from '../../../host/progress.ts';
import type { SourceOptions } from '../../../session/connection.ts';
import type { Session } from '../../../session/session.ts';
import { version } from '../../../session/version.ts';

/** Methods that `reporter` lacks do nothing. */
export async function sessionFor(
  flags: SourceOptions,
  reporter: Partial<Reporter>,
  signal: AbortSignal,
): Promise<Session> {
  const { openSession } = await import('../../../session/session.ts');
  const environment = processEnvironment();
  return openSession({ ...flags, reporter: { ...silent, ...reporter }, signal, environment, version });
}
