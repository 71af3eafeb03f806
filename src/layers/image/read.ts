/**
 * An image read back: its layers' tars, one after the other, become the tree that a container sees, each entry owned by
 * the layer that it came from. Works for any image in the store, kina's or not: nothing but the image itself is asked.
 *
 * Bytes pass through; what is kept is an entry per path and the few texts that the caller names (package lists, licences).
 * So memory grows with the number of files, not with their size.
 */
import { createHash } from 'node:crypto';
import { decompressFile } from '../../host/compression/decompress.ts';
import { KinaError } from '../../host/errors.ts';
import type { Digest } from '../../oci/descriptor.ts';
import type { PlatformImage } from '../../oci/image/contents.ts';
import { type ImageLayer, imageLayers } from '../../oci/image/history.ts';
import type { Store } from '../../oci/store/store.ts';
import type { Entry } from '../../tree/entry.ts';
import { type Member, readTar } from '../../tree/tar-read.ts';
import { Tree } from '../../tree/tree.ts';
import { applyLayer } from '../../tree/whiteouts.ts';

export interface ReadOptions {
  /** Files whose text is wanted, by canonical path. */
  readonly texts?: (path: string) => boolean;
  /** Hash the files, so that contents can be compared; otherwise `content.key` says nothing. */
  readonly hash?: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface ReadLayer {
  /** In the order of the tar. The owner of each is the layer's name. */
  readonly entries: readonly Entry[];
  readonly texts: ReadonlyMap<string, string>;
}
export interface ReadImage {
  readonly layers: readonly ImageLayer[];
  /** The merged tree; the owner of an entry is the name of its layer. */
  readonly tree: Tree;
  readonly texts: ReadonlyMap<string, string>;
}

/** A text of an image that is longer than this is not one that anybody asked for. */
const maxTextBytes = 8 << 20;

/** Throws `store` when a layer is not there, `archive` when one is no sound tar. */
export async function readImage(store: Store, image: PlatformImage, options: ReadOptions = {}): Promise<ReadImage> {
  const layers = imageLayers(image);
  const tree = new Tree();
  const texts = new Map<string, string>();
  for (const layer of layers) {
    const read = await readLayer(store, layer, options);
    // A folder that a layer merely repeats stays with the layer that brought it.
    applyLayer(
      tree,
      read.entries.filter((entry) => !(entry.type === 'directory' && repeats(tree.get(entry.path), entry))),
    );
    for (const [path, text] of read.texts) texts.set(tree.realPath(path), text);
  }
  return { layers, tree, texts };
}

/** The blob to read a layer from: the uncompressed copy where the store has it. Throws `store` when there is neither. */
export async function layerDigest(store: Store, { diffId, descriptor, name }: ImageLayer): Promise<Digest> {
  if (await store.has(diffId)) return diffId;
  const { digest, size } = descriptor;
  if (await store.has(digest, size)) return digest;
  throw new KinaError('store', `the layer ${name}, ${digest}, is not in the store ${store.root}, or damaged`, {
    hint: 'Build the image again.',
  });
}

/** One layer's entries. */
export async function readLayer(store: Store, layer: ImageLayer, options: ReadOptions = {}): Promise<ReadLayer> {
  const { name } = layer;
  const digest = await layerDigest(store, layer);
  const from = `the layer ${name}`;
  const entries: Entry[] = [];
  const texts = new Map<string, string>();
  for await (const member of readTar(decompressFile(store.blobPath(digest), { from }), from)) {
    options.signal?.throwIfAborted();
    entries.push(await toEntry(member, name, options, texts));
  }
  return { entries, texts };
}

async function toEntry(
  member: Member,
  owner: string,
  options: ReadOptions,
  texts: Map<string, string>,
): Promise<Entry> {
  const { path, mode, uid, gid, xattrs } = member;
  const common = { path, mode, uid, gid, owner, ...(xattrs ? { xattrs } : {}) };
  if (member.type === 'directory') return { ...common, type: 'directory' };
  if (member.type !== 'file') return { ...common, type: member.type, target: member.target };
  const isText = member.size <= maxTextBytes && (options.texts?.(path) ?? false);
  let key = '';
  if (isText || options.hash) {
    const hash = createHash('sha256');
    const parts: Buffer[] = [];
    for await (const chunk of member.body) {
      if (options.hash) hash.update(chunk);
      if (isText) parts.push(chunk);
    }
    if (options.hash) key = `sha256:${hash.digest('hex')}`;
    if (isText) texts.set(path, Buffer.concat(parts).toString('utf8'));
  }
  return { ...common, type: 'file', content: { size: member.size, segments: [], key } };
}

function repeats(known: Entry | undefined, entry: Entry): boolean {
  return known?.type === 'directory' && known.mode === entry.mode && known.uid === entry.uid && known.gid === entry.gid;
}
