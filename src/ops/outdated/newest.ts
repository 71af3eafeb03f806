/**
 * What a lock would pin today: its recipe, variables and platforms, resolved again with the newest patch of its Kubernetes
 * minor. The resolution is that of `kina lock`, so signatures, suites, priorities and dependencies have the same effect,
 * and the result is what a new lock would contain.
 */
import semver from 'semver';
import type { Lock } from '../../build/lock.ts';
import { resolveRecipe } from '../../build/resolve.ts';
import { versionRow } from '../../build/versions.ts';
import { KinaError } from '../../host/errors.ts';
import { parsePlatform } from '../../oci/platform.ts';
import type { Session } from '../../session/session.ts';

export interface Newest {
  readonly lock: Lock;
  /** The newest patch in upstream's marker or kina's table; the lock may have an older one, see `newestLock`. */
  readonly kubernetes: string | undefined;
}

/**
 * `recipe`: name or file. If the newest patch is not available (a mirror that lacks it), it warns and resolves the rest for
 * the lock's own version. Throws `usage` for a lock whose Kubernetes is not a release, and the errors of resolving.
 */
export async function newestLock(old: Lock, recipe: string, session: Session): Promise<Newest> {
  const newest = old.kubernetes === undefined ? undefined : await newestPatch(old.kubernetes, session);
  if (old.kubernetes !== undefined && old.source !== 'release')
    throw new KinaError('usage', `Kubernetes ${old.kubernetes} in the lock is not a release`, {
      hint: 'There is no update channel for it. Lock it again from its source: `kina lock SOURCE`.',
    });
  try {
    return { lock: await resolveLike(old, recipe, newest, session), kubernetes: newest };
  } catch (error) {
    if (newest === old.kubernetes || !(error instanceof KinaError) || error.code !== 'not-found') throw error;
    session.reporter.warn(
      `Kubernetes ${newest} is not available (${error.message}); everything else is compared for ${old.kubernetes}`,
    );
    return { lock: await resolveLike(old, recipe, old.kubernetes, session), kubernetes: newest };
  }
}

/** The lock's recipe, variables and platforms, resolved for this Kubernetes release. */
export async function resolveLike(
  old: Lock,
  recipe: string,
  kubernetes: string | undefined,
  session: Session,
): Promise<Lock> {
  const platforms = Object.keys(old.platforms).map(parsePlatform);
  const request = { recipe, source: kubernetes, platforms, set: old.variables, lock: undefined, strict: false };
  const sourceType = kubernetes === undefined ? undefined : 'release';
  return (await resolveRecipe({ ...request, sourceType }, session)).lock;
}

/** The newest of upstream's marker for the minor, the version table, and the current version. */
async function newestPatch(kubernetes: string, { transport }: Session): Promise<string> {
  const { major, minor } = semver.parse(kubernetes) ?? { major: 0, minor: 0 };
  const { row } = await versionRow(kubernetes);
  const marker = await transport
    .text(`https://dl.k8s.io/release/stable-${major}.${minor}.txt`, { limit: 4096 })
    .catch((error) => {
      // A mirror without markers; the table has the newest patch at the time of kina's release.
      if (error instanceof KinaError && error.code === 'not-found') return '';
      throw error;
    });
  const known = [kubernetes, row?.latest, marker.trim()].filter(
    (one): one is string => one !== undefined && semver.valid(one) !== null && semver.minor(one) === minor,
  );
  return known.sort(semver.rcompare)[0] ?? kubernetes;
}
