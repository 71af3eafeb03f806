/**
 * Detects replayed indexes. A signature proves who made an index, not that it is the newest: an attacker between kina and
 * a mirror can serve last year's signed index, and with it packages with known vulnerabilities. `Valid-Until` limits this
 * where it exists (archives of stable releases do not have it). The store therefore records the newest date of every
 * suite, and older indexes are refused.
 *
 * Mirrors are updated several times a day, not all at once, so two of them may differ by hours; that is tolerated. A
 * mirror that is declared as frozen (`checkValidUntil: false`) may serve old indexes.
 *
 * The newest document is kept as well, for builds without a network.
 */
import { KinaError } from '../host/errors.ts';
import { digestOf } from '../host/json.ts';
import type { ArchiveSpec } from './archive.ts';
import type { Release, VerdictCache } from './release.ts';

/** Tolerated difference between mirrors of one archive, in milliseconds. */
const mirrorLag = 24 * 3600 * 1000;

/**
 * Throws `integrity` if the store has seen a newer index of this suite; otherwise records this one, with its bytes
 * `document`, if it is the newest.
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
    details: [`date of this index: ${release.date.toISOString()}`, `newest date seen: ${newest.toISOString()}`],
    hint: 'The mirror is stale, or an attacker replays an old index: use a different mirror. To use the old index on purpose, set KINA_DEBIAN_CHECK_VALID_UNTIL=false.',
  });
}

/** The newest index of a suite in the store, with its signature; undefined if there is none. */
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
