/**
 * The lock of an image, which the image does not contain. It is recorded in the store by the image's config, which does not
 * change if layers are compressed differently. Images from elsewhere have none.
 */
import type { Artifact } from '../../artifacts/artifact.ts';
import type { BuiltNodeImage } from '../../build/image.ts';
import { type Lock, lockedArtifacts, lockFrom, platformLock } from '../../build/lock.ts';
import { KinaError } from '../../host/errors.ts';
import { type Digest, hexOf, maxManifestBytes, parseManifest } from '../../oci/descriptor.ts';
import type { ImageContents } from '../../oci/image/contents.ts';
import type { Store } from '../../oci/store/store.ts';

/** Records the lock of each platform's image. */
export async function rememberOrigin(store: Store, lock: Lock, built: BuiltNodeImage): Promise<void> {
  for (const { platform, manifest } of built.platforms) {
    const { config } = parseManifest(await store.readBytes(manifest.digest, maxManifestBytes), manifest.digest);
    await store.putRecord('origin', hexOf(config.digest), platformLock(lock, platform));
  }
}

/** Undefined for an image that this store did not build. */
export async function originOf(store: Store, config: Digest): Promise<Lock | undefined> {
  const record = await store.getRecord('origin', hexOf(config));
  if (record === undefined) return undefined;
  try {
    return lockFrom(record, 'the recorded lock');
  } catch (error) {
    if (error instanceof KinaError && error.code === 'lock') return undefined;
    throw error;
  }
}

/** The locks of all platforms; undefined if this store did not build one of them. */
export async function originsOf(store: Store, { platforms }: ImageContents): Promise<[Lock, ...Lock[]] | undefined> {
  const origins: Lock[] = [];
  for (const { manifest } of platforms) {
    const origin = await originOf(store, manifest.config.digest);
    if (!origin) return undefined;
    origins.push(origin);
  }
  const [first, ...others] = origins;
  return first && [first, ...others];
}

/** The lock of all platforms. */
export function joinOrigins(origins: readonly [Lock, ...Lock[]]): Lock {
  return { ...origins[0], platforms: Object.assign({}, ...origins.map(({ platforms }) => platforms)) };
}

/** Every artifact once, sorted by URL. */
export function artifactsOf(lock: Lock): Artifact[] {
  const unique = new Map(lockedArtifacts(lock).map((one) => [`${one.url} ${one.digest}`, one]));
  return [...unique].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one);
}
