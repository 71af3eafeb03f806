/**
 * Everything an image in the store is made of, found by walking from its descriptor: the index, the manifests, their
 * configs and layers. What outputs write, what `inspect` shows and what `prune` must keep is the same walk.
 */
import { KinaError } from '../../host/errors.ts';
import {
  type Descriptor,
  type Digest,
  type ImageConfig,
  type ImageIndex,
  type ImageManifest,
  isIndexType,
  isManifestType,
  maxConfigBytes,
  maxManifestBytes,
  parseConfig,
  parseIndex,
  parseManifest,
} from '../descriptor.ts';
import type { Store } from '../store/store.ts';

/** One platform's image. */
export interface PlatformImage {
  /** Of the manifest, with `platform` when the index said it. */
  readonly descriptor: Descriptor;
  readonly manifest: ImageManifest;
  readonly config: ImageConfig;
}
export interface ImageContents {
  readonly descriptor: Descriptor;
  /** Undefined when the name stands for a bare manifest. */
  readonly index: ImageIndex | undefined;
  readonly platforms: readonly PlatformImage[];
  /** Every blob once, the descriptor's own included; sizes in bytes. */
  readonly blobs: ReadonlyMap<Digest, number>;
}

/** Reads the image's documents (not its layers). Throws `store` when one is missing, `archive` when one is malformed. */
export async function readContents(store: Store, descriptor: Descriptor): Promise<ImageContents> {
  const blobs = new Map<Digest, number>([[descriptor.digest, descriptor.size]]);
  if (isManifestType(descriptor.mediaType))
    return { descriptor, index: undefined, platforms: [await readPlatform(store, descriptor, blobs)], blobs };
  if (!isIndexType(descriptor.mediaType))
    throw new KinaError('archive', `${descriptor.digest} is no image but ${descriptor.mediaType}`);

  const index = parseIndex(await store.readBytes(descriptor.digest, maxManifestBytes), descriptor.digest);
  const platforms: PlatformImage[] = [];
  for (const entry of index.manifests) {
    if (!isManifestType(entry.mediaType))
      throw new KinaError('archive', `${descriptor.digest} lists ${entry.mediaType}, which is no image manifest`);
    blobs.set(entry.digest, entry.size);
    platforms.push(await readPlatform(store, entry, blobs));
  }
  return { descriptor, index, platforms, blobs };
}

async function readPlatform(store: Store, descriptor: Descriptor, blobs: Map<Digest, number>): Promise<PlatformImage> {
  const manifest = parseManifest(await store.readBytes(descriptor.digest, maxManifestBytes), descriptor.digest);
  for (const part of [manifest.config, ...manifest.layers]) blobs.set(part.digest, part.size);
  const config = parseConfig(await store.readBytes(manifest.config.digest, maxConfigBytes), manifest.config.digest);
  return { descriptor, manifest, config };
}
