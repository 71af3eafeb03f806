/**
 * What has to travel to a node. An image needs its manifest, its config and its layers; what the node's containerd has of
 * them, from whatever image, stays here. A name that stands for the same image already needs nothing: the same manifest,
 * or another one of the same config, which is the image's id.
 */
import { KinaError } from '../../host/errors.ts';
import type { Digest } from '../../oci/descriptor.ts';
import type { ImportedImage } from '../../oci/image/import.ts';
import { platformName } from '../../oci/image/select.ts';
import { blobName, layoutIndex, ociLayoutBytes } from '../../oci/output/archive.ts';
import type { Member } from '../../oci/output/tar.ts';
import { formatPlatform } from '../../oci/platform.ts';
import type { Arrival, NodeImages } from './node-images.ts';

/** An image to load: all its platforms, under names in full. */
export interface NamedImage {
  readonly names: readonly string[];
  readonly platforms: readonly ImportedImage[];
}

export interface NodePlan {
  readonly state: NodeImages;
  /** Names that are right already. */
  readonly right: readonly string[];
  /** Empty when nothing is to be done. */
  readonly arrivals: readonly Arrival[];
  /** Of the archive that brings them. */
  readonly members: readonly Member[];
  /** Bytes of blobs that travel, and of those that need not. */
  readonly sent: number;
  readonly there: number;
}

/** Whether `name` stands for the image with this config on the node; `manifest` when it is known. */
export function isRight({ names }: NodeImages, name: string, config: string, manifest?: string): boolean {
  const target = names.get(name);
  return target !== undefined && (target === manifest || target === names.get(config));
}

/** `token` makes temporary names unique. Throws `platform` when there is an image for other platforms only. */
export function planNode(state: NodeImages, images: readonly NamedImage[], token: string): NodePlan {
  const right: string[] = [];
  const arrivals: Arrival[] = [];
  const blobs = new Map<Digest, number>();
  const present = new Map<Digest, number>();
  const entries: unknown[] = [];
  for (const { names, platforms } of images) {
    const image = forNode(state, names, platforms);
    const { manifest, config, layers } = image;
    const wrong = names.filter((name) => !isRight(state, name, config.digest, manifest.digest));
    right.push(...names.filter((name) => !wrong.includes(name)));
    if (wrong.length === 0) continue;
    const temporary = `localhost/kina-load/${token}:${arrivals.length}`;
    arrivals.push({ temporary, config: config.digest, names: wrong });
    // No platform: a config that says more than `linux/arm64` must not keep containerd from taking what was chosen here.
    const { mediaType, digest, size } = manifest;
    entries.push({ mediaType, digest, size, annotations: { 'io.containerd.image.name': temporary } });
    for (const blob of [manifest, config]) blobs.set(blob.digest, blob.size);
    for (const layer of layers) (state.blobs.has(layer.digest) ? present : blobs).set(layer.digest, layer.size);
  }
  const sum = (sizes: ReadonlyMap<Digest, number>) => [...sizes.values()].reduce((a, b) => a + b, 0);
  const members: Member[] = [
    { name: 'oci-layout', bytes: ociLayoutBytes },
    { name: 'index.json', bytes: layoutIndex(entries) },
    ...[...blobs].map(([digest, size]) => ({ name: blobName(digest), digest, size })),
  ];
  return { state, right, arrivals, members, sent: sum(blobs), there: sum(present) };
}

function forNode({ node, platform }: NodeImages, names: readonly string[], platforms: readonly ImportedImage[]) {
  const found = platforms.find(
    (one) => one.platform.os === platform.os && one.platform.architecture === platform.architecture,
  );
  if (found) return found;
  throw new KinaError('platform', `${names[0]} is not for ${formatPlatform(platform)}, which node ${node} is`, {
    hint: `It is for ${platforms.map((one) => platformName(one.platform)).join(', ')}: build or pull it for the node's platform.`,
  });
}
