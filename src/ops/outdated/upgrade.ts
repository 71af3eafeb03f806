/**
 * `kina lock --upgrade NAME`: updates one thing in a lock and keeps the other pins.
 *
 * - `kubernetes`: updates only the pins that differ between the lock's patch release and the newest one.
 * - a Debian package: the package and the packages it needs (`debian/partial-upgrade.ts`), in every image that has it.
 * - a step, by its component or its path (`runc`, `images/etcd`), or a layer: pinned again.
 */
import { type Lock, lockedArtifacts } from '../../build/lock.ts';
import { readLock } from '../../build/lock-file.ts';
import { resolveRecipe } from '../../build/resolve.ts';
import { KinaError } from '../../host/errors.ts';
import { digestOf } from '../../host/json.ts';
import { didYouMean } from '../../host/suggest.ts';
import { parsePlatform } from '../../oci/platform.ts';
import type { Session } from '../../session/session.ts';
import { newestLock, resolveLike } from './newest.ts';

type Steps = Lock['platforms'][string];

/**
 * The lock of the file `path` with the newest `name`. Throws `usage` for an unknown name, `lock` if the recipe has changed
 * since, and the errors of resolving.
 */
export async function upgradeOne(path: string, recipe: string, name: string, session: Session): Promise<Lock> {
  const old = await readLock(path);
  if (name === 'kubernetes' && old.kubernetes !== undefined) {
    const here = await resolveLike(old, recipe, old.kubernetes, session);
    const { lock: there } = await newestLock(old, recipe, session);
    checkRecipe(old, here, path);
    return mixed(old, there, (id, platform) => !same(here.platforms[platform]?.[id], there.platforms[platform]?.[id]));
  }
  if (packagesOf(old).has(name)) {
    const platforms = Object.keys(old.platforms).map(parsePlatform);
    const request = { recipe, source: undefined, sourceType: undefined, platforms, set: {}, strict: false };
    return (await resolveRecipe({ ...request, lock: path, upgrade: name }, session)).lock;
  }
  const steps = new Set(Object.values(old.platforms).flatMap((all) => Object.keys(all)));
  const concerned = [...steps].filter((id) => isCalled(id, name));
  if (concerned.length === 0) {
    const known = ['kubernetes', ...packagesOf(old), ...steps, ...[...steps].flatMap((id) => id.split('/'))];
    throw new KinaError('usage', `${path} has no ${name}${didYouMean(name, [...new Set(known)])}`, {
      hint: `Use kubernetes, a Debian package, or one of ${[...steps].filter((id) => id.split('/').length === 2).join(', ')}.`,
    });
  }
  const now = await resolveLike(old, recipe, old.kubernetes, session);
  checkRecipe(old, now, path);
  const inside = (id: string): boolean => concerned.some((step) => id === step || id.startsWith(`${step}/`));
  return mixed(old, now, inside);
}

/** `runtime/runc` is called `runc`, `runtime/runc` and, as part of its layer, `runtime`; `images/etcd-2` is an `etcd`. */
function isCalled(id: string, name: string): boolean {
  const [layer, step, ...inner] = id.split('/');
  return inner.length === 0 && [id, layer, step, step?.replace(/-\d+$/, '')].includes(name);
}

function packagesOf(lock: Lock): Set<string> {
  const artifacts = lockedArtifacts(lock);
  return new Set(artifacts.filter(({ type }) => type === 'deb').map(({ name }) => name));
}

/** Steps of `now` if `takes` returns true or the old lock lacks them, otherwise of the old lock; in the order of `now`. */
function mixed(old: Lock, now: Lock, takes: (id: string, platform: string) => boolean): Lock {
  const platforms = Object.entries(now.platforms).map(([platform, steps]): [string, Steps] => {
    const before = old.platforms[platform] ?? {};
    const entries = Object.entries(steps).map(([id, step]): [string, Steps[string]] => [
      id,
      takes(id, platform) ? step : (before[id] ?? step),
    ]);
    return [platform, Object.fromEntries(entries)];
  });
  return { ...now, platforms: Object.fromEntries(platforms) };
}

/** Pins of a step that has changed in the recipe cannot be kept: reports all differences together. */
function checkRecipe(old: Lock, now: Lock, path: string): void {
  const details = Object.entries(now.platforms).flatMap(([platform, steps]) => {
    const before = old.platforms[platform] ?? {};
    const ids = [...new Set([...Object.keys(before), ...Object.keys(steps)])];
    const changed = ids.filter((id) => before[id]?.step !== steps[id]?.step).map((id) => `${platform} ${id}`);
    const image = old.settings?.[platform];
    // Other steps also mean a different order, about which old locks have no information.
    if (changed.length > 0 || image === undefined || image === now.settings?.[platform]) return changed;
    return [`${platform}: description, image settings or order of steps`];
  });
  if (details.length > 0)
    throw new KinaError('lock', `${path} does not match the recipe, so its pins cannot be kept`, {
      details,
      hint: 'Update the whole lock: `kina lock --upgrade`, without a name.',
    });
}

function same(a: Steps[string] | undefined, b: Steps[string] | undefined): boolean {
  const pinning = (step: Steps[string] | undefined) => ({
    ...step,
    notes: null,
    artifacts: step?.artifacts?.map(({ digest, url }) => [digest, url]),
  });
  return digestOf(pinning(a)) === digestOf(pinning(b));
}
