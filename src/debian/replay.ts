/**
 * Replayed indexes. A signature says who made an index, not that it is the newest: whoever sits between kina and a
 * mirror can hand out last year's, signed and all, and with it packages whose holes are known. `Valid-Until` helps
 * where there is one (the archives of stable releases have none). So the store remembers the newest date that it has
 * seen of every suite, and an older index is refused.
 *
 * Mirrors are updated several times a day and not at once, so that two of them may be hours apart; that much is let
 * pass. Somebody who declared the mirror frozen (`checkValidUntil: false`) wants an old index, and gets it.
 */
import { KinaError } from '../host/errors.ts';
import { digestOf } from '../host/json.ts';
import type { ArchiveSpec } from './archive.ts';
import type { Release, VerdictCache } from './release.ts';

/** How far mirrors of one archive may be apart, in milliseconds. */
const mirrorLag = 24 * 3600 * 1000;

/** Throws `integrity` when the store has seen a newer index of this suite; remembers this one when it is the newest. */
export async function refuseReplay(spec: ArchiveSpec, release: Release, memory: VerdictCache): Promise<void> {
  const key = digestOf({ kind: 'newest-index/1', archive: spec.archive, suite: spec.suite });
  const known = (await memory.get(key)) as { date?: string } | undefined;
  const newest = known?.date === undefined ? undefined : new Date(known.date);
  const at = release.date.getTime();
  if (newest === undefined || at > newest.getTime())
    return await memory.put(key, { date: release.date.toISOString(), digest: release.digest });
  if (at >= newest.getTime() - mirrorLag || spec.checkValidUntil === false) return;
  throw new KinaError('integrity', `InRelease of ${spec.archive} ${spec.suite} is older than one seen before`, {
    details: [`it is of ${release.date.toISOString()}`, `the store has seen that of ${newest.toISOString()}`],
    hint: 'The mirror is stale, or somebody replays an old index: use another mirror. To go back on purpose, set KINA_DEBIAN_CHECK_VALID_UNTIL=false.',
  });
}
