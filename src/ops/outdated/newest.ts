/**
 * What a lock would pin today: its recipe, variables and platforms, resolved against upstream now, with the newest patch of
 * its Kubernetes minor. The same resolution as `kina lock`, so signatures, suites, priorities and dependencies count as
 * they do there, and what is newest is what a new lock would really have.
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
  /** The newest patch that upstream's marker or kina's table names; the lock may be of an older one, see `newestLock`. */
  readonly kubernetes: string | undefined;
}

/**
 * `recipe`: name or file. Where the newest patch cannot be had (a mirror that lacks it), a warning says so and the rest is
 * resolved for the lock's own. Throws `usage` for a lock whose Kubernetes is not a release, and what resolving throws.
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
      `Kubernetes ${newest} cannot be had from here (${error.message}); the rest is for ${old.kubernetes}`,
    );
    return { lock: await resolveLike(old, recipe, old.kubernetes, session), kubernetes: newest };
  }
}

/** What the lock's recipe, variables and platforms resolve to now, for that release of Kubernetes. */
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

/** The greatest of upstream's marker for the minor, the version table's, and the one at hand. */
async function newestPatch(kubernetes: string, { transport }: Session): Promise<string> {
  const { major, minor } = semver.parse(kubernetes) ?? { major: 0, minor: 0 };
  const { row } = await versionRow(kubernetes);
  const marker = await transport
    .text(`https://dl.k8s.io/release/stable-${major}.${minor}.txt`, { limit: 4096 })
    .catch((error) => {
      // A mirror without markers; the table has what was newest when this kina was made.
      if (error instanceof KinaError && error.code === 'not-found') return '';
      throw error;
    });
  const known = [kubernetes, row?.latest, marker.trim()].filter(
    (one): one is string => one !== undefined && semver.valid(one) !== null && semver.minor(one) === minor,
  );
  return known.sort(semver.rcompare)[0] ?? kubernetes;
}
