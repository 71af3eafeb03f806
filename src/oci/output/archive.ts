/**
 * The members of image archives, for each kind of reader.
 *
 * The OCI form is `oci-layout`, `index.json` and the blobs. `index.json` names an image *index*, also for one platform:
 * Apple's store would wrap a bare manifest, which changes the digest people see. The full reference stands in all three
 * annotations that readers look at: Apple's and containerd's own, and `org.opencontainers.image.ref.name`, which podman
 * takes as a name and skopeo and umoci as a label (`oci:DIR:REF`, slashes and colons included).
 *
 * A one-platform archive carries Docker's `manifest.json` too, with the same blobs: Docker reads nothing else unless it
 * uses containerd's image store. Docker before 23.0 (its release notes) reads no zstd layers and says `unexpected EOF`;
 * for it there is the docker-archive, whose layers are never compressed. With several platforms there is no
 * `manifest.json`, because Docker 20.10 and podman 4.3 would silently load the wrong one.
 */
import { KinaError } from '../../host/errors.ts';
import { canonicalJson } from '../../host/json.ts';
import { uncompressedLayer } from '../compress.ts';
import { type Annotations, type Descriptor, type Digest, hexOf, mediaType } from '../descriptor.ts';
import type { ImageContents, ImageParts, PlatformImage } from '../image/contents.ts';
import type { Store } from '../store/store.ts';
import type { ArchiveMember } from './tar.ts';

export const ociLayoutBytes = Buffer.from('{"imageLayoutVersion":"1.0.0"}');

/** The name annotations of one reference. */
function nameAnnotations(ref: string): Annotations {
  return {
    'com.apple.containerization.image.name': ref,
    'io.containerd.image.name': ref,
    'org.opencontainers.image.ref.name': ref,
  };
}

/** The entries of `index.json` for an image under these names; without a name there is one entry without annotations. */
export function namedDescriptors({ mediaType, digest, size }: Descriptor, refs: readonly string[]): Descriptor[] {
  if (!refs.length) return [{ mediaType, digest, size }];
  return refs.map((ref) => ({ mediaType, digest, size, annotations: nameAnnotations(ref) }));
}

/** `index.json` itself. */
export function layoutIndex(manifests: readonly unknown[]): Buffer {
  return Buffer.from(canonicalJson({ schemaVersion: 2, mediaType: mediaType.index, manifests }));
}

/** The members of an OCI archive. */
export function ociMembers(contents: ImageContents, refs: readonly string[]): ArchiveMember[] {
  const [only, ...others] = contents.platforms;
  const docker = only && !others.length ? [dockerManifest(only, refs, only.manifest.layers)] : [];
  return [
    { name: 'oci-layout', bytes: ociLayoutBytes },
    { name: 'index.json', bytes: layoutIndex(namedDescriptors(contents.descriptor, refs)) },
    ...docker,
    ...blobMembers(contents),
  ];
}

/** Documents and parts under the names that layouts give them. */
export function blobMembers({ documents, parts }: ImageParts): ArchiveMember[] {
  return [
    ...documents.map(({ digest, bytes }) => ({ name: blobName(digest), bytes })),
    ...parts.map(({ digest, size }) => ({ name: blobName(digest), digest, size })),
  ];
}

export function notOnePlatform(platforms: number): KinaError {
  return new KinaError('usage', `a docker-archive holds one platform, not ${platforms}`, {
    hint: 'Take one with --platform (`kina pull`, `kina image save` and builds have it), or write an oci-archive.',
  });
}

/**
 * The members of what `docker save` writes: config and uncompressed layers under `manifest.json`. Throws `usage` for
 * more than one platform.
 */
export async function dockerMembers(
  store: Store,
  contents: ImageContents,
  refs: readonly string[],
): Promise<ArchiveMember[]> {
  const [image, ...others] = contents.platforms;
  if (!image || others.length) throw notOnePlatform(contents.platforms.length);
  const diffIds = image.config.rootfs.diff_ids ?? [];
  const layers: Descriptor[] = [];
  for (const [i, layer] of image.manifest.layers.entries())
    layers.push(await uncompressedLayer(store, layer, diffIds[i] as Digest));
  const blobs = new Map([image.manifest.config, ...layers].map((blob) => [blob.digest, blob.size]));
  return [
    dockerManifest(image, refs, layers),
    ...[...blobs].map(([digest, size]) => ({ name: blobName(digest), digest, size })),
  ];
}

export function blobName(digest: Digest): string {
  return `blobs/sha256/${hexOf(digest)}`;
}

function dockerManifest(image: PlatformImage, refs: readonly string[], layers: readonly Descriptor[]): ArchiveMember {
  const entry = {
    Config: blobName(image.manifest.config.digest),
    RepoTags: refs,
    Layers: layers.map((layer) => blobName(layer.digest)),
  };
  return { name: 'manifest.json', bytes: Buffer.from(canonicalJson([entry])) };
}
