/**
 * Images inside an image: one deterministic OCI archive that `ctr images import` reads at a node's first boot. It is
 * described as segments that point into the store, so hundreds of megabytes are neither copied nor held in memory
 * before the layer that contains them is written.
 *
 * Manifests, configs and layers are carried as they came: the config's digest is the image id that kubelet and crictl
 * show. Each name is an entry of `index.json` with containerd's name annotation and the platform.
 */
import { KinaError } from '../../host/errors.ts';
import { digestOf } from '../../host/json.ts';
import type { Descriptor, Digest } from '../descriptor.ts';
import { blobName, layoutIndex, ociLayoutBytes } from '../output/archive.ts';
import { type Member, type Segment, tarSegments } from '../output/tar.ts';
import type { Store } from '../store/store.ts';

/** An image to preload under one full reference; its blobs are in the store. */
export interface Preload {
  readonly name: string;
  /** With `platform`. */
  readonly manifest: Descriptor;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

/** The archive's bytes; equal `key` means equal bytes. The shape of a tree's content. */
export interface VirtualFile {
  readonly size: number;
  readonly segments: readonly Segment[];
  readonly key: string;
}

/** Throws `store` when a blob is not in the store, `conflict` when one name stands for two images. */
export async function imageArchive(store: Store, images: readonly Preload[]): Promise<VirtualFile> {
  const byName = new Map<string, Preload>();
  const blobs = new Map<Digest, number>();
  for (const image of images) {
    const other = byName.get(image.name);
    if (other && other.manifest.digest !== image.manifest.digest)
      throw new KinaError('conflict', `two images to preload are called ${image.name}`, {
        details: [other.manifest.digest, image.manifest.digest],
      });
    byName.set(image.name, image);
    for (const blob of [image.manifest, image.config, ...image.layers]) blobs.set(blob.digest, blob.size);
  }
  for (const [digest, size] of blobs)
    if (!(await store.has(digest, size)))
      throw new KinaError('store', `${digest}, part of an image to preload, is not in the store ${store.root}`, {
        hint: 'Build again: it is fetched anew.',
      });

  const entries = [...byName.values()]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, manifest: { mediaType, digest, size, platform } }) => ({
      mediaType,
      digest,
      size,
      platform,
      annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name },
    }));
  const members: Member[] = [
    { name: 'oci-layout', bytes: ociLayoutBytes },
    { name: 'index.json', bytes: layoutIndex(entries) },
    ...[...blobs].map(([digest, size]) => ({ name: blobName(digest), digest, size })),
  ];
  const segments = tarSegments(store, members);
  const size = segments.reduce((sum, part) => sum + ('bytes' in part ? part.bytes.length : part.size), 0);
  return { size, segments, key: digestOf({ imageArchive: 1, entries, blobs: [...blobs.keys()].sort() }) };
}
