/**
 * What a build knew and an image does not say: the lock. Remembered in the store under the image's config, which stays the
 * same when layers are compressed otherwise. An image from elsewhere has none.
 */
import { z } from 'zod';
import type { BuiltNodeImage } from '../../build/image.ts';
import type { Lock } from '../../build/lock.ts';
import { type Digest, hexOf, maxManifestBytes, parseManifest } from '../../oci/descriptor.ts';
import type { ImageContents } from '../../oci/image/contents.ts';
import type { Store } from '../../oci/store/store.ts';

const artifact = z.looseObject({
  name: z.string(),
  version: z.string().optional(),
  url: z.string(),
  digest: z.string(),
  verifiedBy: z.string(),
});
/** Loose: what is not named here is part of the lock all the same, and of its digest. */
const schema = z.looseObject({
  recipe: z.string(),
  kubernetes: z.string().optional(),
  variables: z.record(z.string(), z.string()),
  /** By platform, then by step. */
  platforms: z.record(
    z.string(),
    z.record(
      z.string(),
      z.looseObject({ inputs: z.record(z.string(), z.string()).optional(), artifacts: z.array(artifact).optional() }),
    ),
  ),
});
export type Origin = z.infer<typeof schema>;
export type OriginArtifact = z.infer<typeof artifact>;

/** Remembers the lock of each platform's image. */
export async function rememberOrigin(store: Store, lock: Lock, built: BuiltNodeImage): Promise<void> {
  for (const { platform, manifest } of built.platforms) {
    const { config } = parseManifest(await store.readBytes(manifest.digest, maxManifestBytes), manifest.digest);
    const part = { ...lock, platforms: { [platform]: lock.platforms[platform] ?? {} } };
    await store.putRecord('origin', hexOf(config.digest), part);
  }
}

/** Undefined for an image that this store did not see built. */
export async function originOf(store: Store, config: Digest): Promise<Origin | undefined> {
  const parsed = schema.safeParse(await store.getRecord('origin', hexOf(config)));
  return parsed.success ? parsed.data : undefined;
}

/** Of every platform; undefined when this store did not see one of them built. */
export async function originsOf(
  store: Store,
  { platforms }: ImageContents,
): Promise<[Origin, ...Origin[]] | undefined> {
  const origins: Origin[] = [];
  for (const { manifest } of platforms) {
    const origin = await originOf(store, manifest.config.digest);
    if (!origin) return undefined;
    origins.push(origin);
  }
  const [first, ...others] = origins;
  return first && [first, ...others];
}

/** The lock of all platforms. */
export function joinOrigins(origins: readonly [Origin, ...Origin[]]): Origin {
  return { ...origins[0], platforms: Object.assign({}, ...origins.map(({ platforms }) => platforms)) };
}

/** Every artifact once, sorted by address; nothing in an address that grants access. */
export function artifactsOf({ platforms }: Origin): OriginArtifact[] {
  const all = Object.values(platforms).flatMap((steps) => Object.values(steps).flatMap((step) => step.artifacts ?? []));
  const unique = new Map(all.map((one) => [`${one.url} ${one.digest}`, one]));
  return [...unique].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one);
}
