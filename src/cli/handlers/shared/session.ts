/** From flags to what fetches, stores and tells: one way for every command that builds or reads from outside. */
import { type Reporter, silent } from '../../../host/progress.ts';
import type { Session } from '../../../session/session.ts';
import type { MirrorFlags } from '../../flags.ts';
import { version } from '../../terminal/context.ts';

/** Flags that a command does not have are not set. */
export type ToolboxFlags = Partial<MirrorFlags> & { readonly insecureRegistry?: string[] };

/** What `reporter` leaves out is not told. */
export async function sessionFor(
  flags: ToolboxFlags,
  reporter: Partial<Reporter>,
  signal: AbortSignal,
): Promise<Session> {
  const { openSession } = await import('../../../session/session.ts');
  return openSession({
    reporter: { ...silent, ...reporter },
    signal,
    mirrors: flags.mirror,
    debianMirror: flags.debianMirror,
    debianSecurityMirror: flags.debianSecurityMirror,
    offline: flags.offline,
    insecureRegistries: flags.insecureRegistry,
    version,
  });
}
