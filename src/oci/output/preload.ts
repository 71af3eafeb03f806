/**
 * Images inside an image: one deterministic OCI archive that `ctr images import` reads when a node boots for the first time.
 * It is described as segments that point into the store, so hundreds of megabytes are neither copied nor held in memory
 * before the layer that contains them is written.
 *
 * Manifests, configs and layers are unchanged: the config's digest is the image id that kubelet and crictl show. Each name
 * is an entry of `index.json` with containerd's name annotation and the platform.
 */
import { KinaError } from '../../host/errors.ts';
import { digestOf } from '../../host/json.ts';
import type { Descriptor, Digest } from '../descriptor.ts';
import { partsOf } from '../image/contents.ts';
import { storeImage } from '../store/image.ts';
import type { Store } from '../store/store.ts';
import { blobName, layoutIndex, ociLayoutBytes } from './archive.ts';
import { type ArchiveMember, type ArchiveSegment, tarSegments } from './tar.ts';

/** An image in the store to preload under a full reference. */
export interface NamedManifest {
  readonly name: string;
  /** With `platform`. */
  readonly manifest: Descriptor;
}

/** The bytes of an archive; equal keys mean equal bytes. The shape of a tree's content. */
export interface VirtualFile {
  readonly size: number;
  readonly segments: readonly ArchiveSegment[];
  readonly key: string;
}

/** Throws `store` when a blob is not in the store, `conflict` when one name stands for two images. */
export async function imageArchive(store: Store, images: readonly NamedManifest[]): Promise<VirtualFile> {
  const byName = new Map<string, NamedManifest>();
  const blobs = new Map<Digest, ArchiveMember>();
  for (const image of images) {
    const other = byName.get(image.name);
    if (other && other.manifest.digest !== image.manifest.digest)
      throw new KinaError('conflict', `two images to preload have the name ${image.name}`, {
        details: [other.manifest.digest, image.manifest.digest],
      });
    byName.set(image.name, image);
    const source = storeImage(store, image.manifest, [image.name]);
    const { documents, parts } = await partsOf(source);
    await source.prepare([...documents, ...parts]);
    for (const { digest, size } of [...documents, ...parts])
      blobs.set(digest, { name: blobName(digest), digest, size });
  }
  const entries = [...byName.values()]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, manifest: { mediaType, digest, size, platform } }) => ({
      mediaType,
      digest,
      size,
      platform,
      annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name },
    }));
  const members: ArchiveMember[] = [
    { name: 'oci-layout', bytes: ociLayoutBytes },
    { name: 'index.json', bytes: layoutIndex(entries) },
    ...blobs.values(),
  ];
  const segments = tarSegments(store, members);
  const size = segments.reduce((sum, part) => sum + ('bytes' in part ? part.bytes.length : part.size), 0);
  return { size, segments, key: digestOf({ imageArchive: 1, entries, blobs: [...blobs.keys()].sort() }) };
}
