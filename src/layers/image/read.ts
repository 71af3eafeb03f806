/**
 * Reads an image: the tars of its layers, one after the other, become the tree that a container sees, each entry owned by the
 * layer that it came from. It works for any image in the store and needs nothing but the image.
 *
 * File contents are not kept, only an entry per path and the few texts that the caller asks for (package lists, licences), so
 * memory grows with the number of files, not with their size.
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

export interface ReadImageOptions {
  /** Selects the files with texts to return, by canonical path. */
  readonly texts?: (path: string) => boolean;
  /** Hash the files, so that contents can be compared; otherwise `content.key` is empty. */
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

/** Longer files are not returned as texts. */
const maxTextBytes = 8 << 20;

/** Throws `store` when a layer is missing, `archive` when one is not a sound tar. */
export async function readImage(
  store: Store,
  image: PlatformImage,
  options: ReadImageOptions = {},
): Promise<ReadImage> {
  const layers = imageLayers(image);
  const tree = new Tree();
  const texts = new Map<string, string>();
  for (const layer of layers) {
    const read = await readLayer(store, layer, options);
    // A folder that a layer repeats unchanged stays with the layer that added it.
    applyLayer(
      tree,
      read.entries.filter((entry) => !(entry.type === 'directory' && repeats(tree.get(entry.path), entry))),
    );
    for (const [path, text] of read.texts) texts.set(tree.realPath(path), text);
  }
  return { layers, tree, texts };
}

/** The blob to read a layer from: the uncompressed copy where the store has it. Throws `store` when both are missing. */
export async function layerDigest(store: Store, { diffId, descriptor, name }: ImageLayer): Promise<Digest> {
  if (await store.has(diffId)) return diffId;
  const { digest, size } = descriptor;
  if (await store.has(digest, size)) return digest;
  throw new KinaError('store', `the layer ${name}, ${digest}, is not in the store ${store.root}, or damaged`, {
    hint: 'Build the image again.',
  });
}

/** One layer's entries. */
export async function readLayer(store: Store, layer: ImageLayer, options: ReadImageOptions = {}): Promise<ReadLayer> {
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
  options: ReadImageOptions,
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
