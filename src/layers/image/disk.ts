/**
 * An image as the root disk of a virtual machine, as Apple's runtime makes one: the layers of one platform laid over each
 * other in an ext4 file system, with the image's owners and modes, and without root, mount or mkfs.
 *
 * Two passes over the layers: the first learns which file of which layer is seen in the end, the second streams the bytes
 * of just these to their places. So nothing is unpacked beside the disk, and memory grows with the number of files.
 */
import { open } from 'node:fs/promises';
import { explainDiskFull } from '../../host/files.ts';
import type { PlatformImage } from '../../oci/contents.ts';
import { type ImageLayer, imageLayers } from '../../oci/history.ts';
import type { Store } from '../../oci/store.ts';
import { decompressFile } from '../../tree/decompress.ts';
import type { Entry } from '../../tree/entry.ts';
import { layoutExt4 } from '../../tree/ext4.ts';
import { readTar } from '../../tree/tar-read.ts';
import { Tree } from '../../tree/tree.ts';
import { applyLayer } from '../../tree/whiteouts.ts';
import { layerDigest, readLayer } from './read.ts';

export interface DiskOptions {
  /** Bytes of the disk; it takes no more room than its files. */
  readonly size: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes the disk to `path`, which must not exist. Throws `store` when a layer is not there, `archive` when one is no sound
 * tar, `disk-full`.
 */
export async function writeDisk(store: Store, image: PlatformImage, path: string, options: DiskOptions): Promise<void> {
  const { size, signal } = options;
  const layers = imageLayers(image);
  const tree = new Tree();
  for (const [position, layer] of layers.entries()) {
    const { entries } = await readLayer(store, layer, { signal });
    applyLayer(tree, marked(entries, position));
  }
  tree.addMissingParents('image');
  const { entries, places } = settled(tree.sorted());
  const uuid = Buffer.from(image.descriptor.digest.slice('sha256:'.length), 'hex');
  const layout = layoutExt4(entries, { size, time: 0, uuid, label: 'kina' });
  const handle = await open(path, 'wx', 0o600);
  try {
    await handle.truncate(size);
    for (const { offset, bytes } of layout.metadata) await handle.write(bytes, 0, bytes.length, offset);
    for (const [position, layer] of layers.entries())
      for await (const member of readTar(bytesOf(store, layer), `the layer ${layer.name}`)) {
        signal?.throwIfAborted();
        const place = member.type === 'file' ? places.get(mark(position, member.path)) : undefined;
        let offset = place === undefined ? undefined : layout.offsets.get(place);
        if (member.type !== 'file' || offset === undefined) continue;
        for await (const chunk of member.body) {
          await handle.write(chunk, 0, chunk.length, offset);
          offset += chunk.length;
        }
      }
  } catch (error) {
    explainDiskFull(error, path);
  } finally {
    await handle.close();
  }
}

async function* bytesOf(store: Store, layer: ImageLayer): AsyncGenerator<Buffer> {
  yield* decompressFile(store.blobPath(await layerDigest(store, layer)), { from: `the layer ${layer.name}` });
}

const mark = (position: number, path: string): string => `${position}/${path}`;

/**
 * The layer's entries, each file marked with where its bytes are. Its hard links become files with the same mark, because
 * a later layer may replace the one name and not the other.
 */
function marked(entries: readonly Entry[], position: number): Entry[] {
  const files = new Map<string, Entry & { type: 'file' }>();
  for (const entry of entries)
    if (entry.type === 'file')
      files.set(entry.path, { ...entry, content: { ...entry.content, key: mark(position, entry.path) } });
  return entries.map((entry) => {
    if (entry.type === 'file') return files.get(entry.path) ?? entry;
    const file = entry.type === 'hardlink' ? files.get(entry.target) : undefined;
    return file ? { ...file, path: entry.path } : entry;
  });
}

/** Names of one file are hard links again; `places` says under which path the bytes of a mark belong. */
function settled(sorted: readonly Entry[]): { entries: Entry[]; places: Map<string, string> } {
  const places = new Map<string, string>();
  const entries = sorted.map((entry): Entry => {
    if (entry.type !== 'file') return entry;
    const { content, ...rest } = entry;
    const target = places.get(content.key);
    if (target !== undefined) return { ...rest, type: 'hardlink', target };
    places.set(content.key, entry.path);
    return entry;
  });
  return { entries, places };
}
