/**
 * Replayed indexes. A signature says who made an index, not that it is the newest: whoever sits between kina and a
 * mirror can hand out last year's, signed and all, and with it packages whose holes are known. `Valid-Until` helps
 * where there is one (the archives of stable releases have none). So the store remembers the newest date that it has
 * seen of every suite, and an older index is refused.
 *
 * Mirrors are updated several times a day and not at once, so that two of them may be hours apart; that much is let
 * pass. Somebody who declared the mirror frozen (`checkValidUntil: false`) wants an old index, and gets it.
 *
 * The newest document is kept as well: it is what a build without a network goes by.
 */
import { KinaError } from '../host/errors.ts';
import { digestOf } from '../host/json.ts';
import type { ArchiveSpec } from './archive.ts';
import type { Release, VerdictCache } from './release.ts';

/** How far mirrors of one archive may be apart, in milliseconds. */
const mirrorLag = 24 * 3600 * 1000;

/**
 * Throws `integrity` when the store has seen a newer index of this suite; remembers this one, whose bytes are `document`,
 * when it is the newest.
 */
export async function refuseReplay(
  spec: ArchiveSpec,
  release: Release,
  document: Buffer,
  memory: VerdictCache,
): Promise<void> {
  const known = await newestSeen(spec, memory);
  const newest = known?.date === undefined ? undefined : new Date(known.date);
  const at = release.date.getTime();
  if (newest === undefined || at > newest.getTime()) {
    await memory.put(documentKey(release.digest), { base64: document.toString('base64') });
    return await memory.put(newestKey(spec), { date: release.date.toISOString(), digest: release.digest });
  }
  if (at >= newest.getTime() - mirrorLag || spec.checkValidUntil === false) return;
  throw new KinaError('integrity', `InRelease of ${spec.archive} ${spec.suite} is older than one seen before`, {
    details: [`it is of ${release.date.toISOString()}`, `the store has seen that of ${newest.toISOString()}`],
    hint: 'The mirror is stale, or somebody replays an old index: use another mirror. To go back on purpose, set KINA_DEBIAN_CHECK_VALID_UNTIL=false.',
  });
}

/** The newest index of a suite that the store has seen, as it was signed; undefined when it has none. */
export async function newestDocument(spec: ArchiveSpec, memory: VerdictCache): Promise<Buffer | undefined> {
  const known = await newestSeen(spec, memory);
  if (known?.digest === undefined) return undefined;
  const kept = (await memory.get(documentKey(known.digest))) as { base64?: string } | undefined;
  return kept?.base64 === undefined ? undefined : Buffer.from(kept.base64, 'base64');
}

async function newestSeen(
  spec: ArchiveSpec,
  memory: VerdictCache,
): Promise<{ readonly date?: string; readonly digest?: string } | undefined> {
  return (await memory.get(newestKey(spec))) as { date?: string; digest?: string } | undefined;
}

function newestKey({ archive, suite }: ArchiveSpec): `sha256:${string}` {
  return digestOf({ kind: 'newest-index/1', archive, suite });
}

function documentKey(digest: string): `sha256:${string}` {
  return digestOf({ kind: 'index-document/1', digest });
}
