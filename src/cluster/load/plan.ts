/**
 * What has to travel to a node. An image needs its manifest, its config and its layers. What the node's containerd has of
 * them, from any image, is not sent. Nothing is sent for a name that already stands for the same image: the same manifest,
 * or a different one with the same config, whose digest is the image id.
 */
import { KinaError } from '../../host/errors.ts';
import type { Digest } from '../../oci/descriptor.ts';
import { checkLayers, contentsOf, type PlatformImage } from '../../oci/image/contents.ts';
import type { Image } from '../../oci/image/image.ts';
import { blobName, layoutIndex, ociLayoutBytes } from '../../oci/output/archive.ts';
import type { ArchiveMember } from '../../oci/output/tar.ts';
import { formatPlatform } from '../../oci/platform.ts';
import type { Arrival, NodeImages } from './node-images.ts';

export interface NodePlan {
  readonly state: NodeImages;
  /** Names that already stand for their images. */
  readonly present: readonly string[];
  /** Empty when there is nothing to do. */
  readonly arrivals: readonly Arrival[];
  /** Of the archive to import, and where its blobs are read. */
  readonly members: readonly ArchiveMember[];
  readonly blobs: Pick<Image, 'blob'>;
  /** Bytes of blobs to send, and of layers that the node has. */
  readonly sent: number;
  readonly there: number;
}

/** Whether `name` stands for the image with this config on the node; `manifest` when it is known. */
export function isPresent({ names }: NodeImages, name: string, config: string, manifest?: string): boolean {
  const target = names.get(name);
  return target !== undefined && (target === manifest || target === names.get(config));
}

/**
 * `token` makes temporary names unique. Throws `platform` when an image is for other platforms only, `archive` and others
 * when a blob that has to be sent cannot be read.
 */
export async function planNode(state: NodeImages, images: readonly Image[], token: string): Promise<NodePlan> {
  const present: string[] = [];
  const arrivals: Arrival[] = [];
  const entries: unknown[] = [];
  const members = new Map<Digest, ArchiveMember>();
  const sources = new Map<Digest, Image>();
  const there = new Map<Digest, number>();
  for (const image of images) {
    const { documents, parts, platform } = await forNode(state, image);
    const { descriptor, manifest } = platform;
    const config = manifest.config.digest;
    const absent = image.names.filter((name) => !isPresent(state, name, config, descriptor.digest));
    present.push(...image.names.filter((name) => !absent.includes(name)));
    if (absent.length === 0) continue;
    const temporary = `localhost/kina-load/${token}:${arrivals.length}`;
    arrivals.push({ temporary, config, names: absent });
    // No platform: a config that says more than `linux/arm64` must not keep containerd from taking what was chosen here.
    const { mediaType, digest, size } = descriptor;
    entries.push({ mediaType, digest, size, annotations: { 'io.containerd.image.name': temporary } });
    const { bytes } = documents.find((one) => one.digest === digest)!;
    members.set(digest, { name: blobName(digest), bytes });
    const isThere = (part: Digest) => part !== config && state.blobs.has(part);
    for (const part of parts.filter((one) => isThere(one.digest))) there.set(part.digest, part.size);
    const missing = parts.filter((one) => !isThere(one.digest));
    await image.prepare(missing);
    for (const part of missing) {
      members.set(part.digest, { name: blobName(part.digest), digest: part.digest, size: part.size });
      sources.set(part.digest, image);
    }
  }
  const sent = [...members.values()].map((member) => ('bytes' in member ? member.bytes.length : member.size));
  return {
    state,
    present,
    arrivals,
    members: [
      { name: 'oci-layout', bytes: ociLayoutBytes },
      { name: 'index.json', bytes: layoutIndex(entries) },
      ...members.values(),
    ],
    blobs: { blob: (blob, range) => sources.get(blob.digest)!.blob(blob, range) },
    sent: sum(sent),
    there: sum(there.values()),
  };
}

async function forNode({ node, platform }: NodeImages, image: Image) {
  try {
    const contents = await contentsOf(image, [platform]);
    const [found] = contents.platforms as [PlatformImage];
    checkLayers(found, image.title);
    return { ...contents, platform: found };
  } catch (error) {
    if (!(error instanceof KinaError) || error.code !== 'platform') throw error;
    const [name = image.title] = image.names;
    throw new KinaError('platform', `${name} is not for ${formatPlatform(platform)}, the platform of node ${node}`, {
      hint: `Build or pull it for the node's platform; ${error.details.join('; ')}.`,
      cause: error,
    });
  }
}

function sum(sizes: Iterable<number>): number {
  return [...sizes].reduce((a, b) => a + b, 0);
}
