/**
 * Writes an image as the root disk of a virtual machine, as Apple's runtime does, or as the read-only disk of a container: the
 * layers of one platform applied in order to an ext4 file system, with the image's owners, modes, times, attributes and
 * devices, and without root, mount or mkfs.
 *
 * There are two passes over the layers: the first finds which file of which layer is visible in the end, the second streams the
 * bytes of these files to their places. So nothing is unpacked beside the disk, and memory grows with the number of files.
 * Files are on the disk in the order of the layers: the second pass writes from front to back.
 *
 * Every member of a layer has a mark, its position, so that two members of one path are told apart. In the tree, marks are in
 * the place of owners. The first pass compares each layer with its diffID, because disks are kept under the digest of the
 * config, and a config contains only diffIDs.
 */
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { decompressFile } from '../../host/compression/decompress.ts';
import { KinaError } from '../../host/errors.ts';
import { explainDiskFull } from '../../host/files.ts';
import type { PlatformImage } from '../../oci/image/contents.ts';
import { type ImageLayer, imageLayers } from '../../oci/image/history.ts';
import type { Store } from '../../oci/store/store.ts';
import type { Entry } from '../../tree/entry.ts';
import { layoutExt4 } from '../../tree/ext4.ts';
import { type DiskEntry, isKnownXattr } from '../../tree/ext4-format.ts';
import { type RootMember, readTar, type SpecialFile } from '../../tree/tar-read.ts';
import { Tree } from '../../tree/tree.ts';
import { applyLayer } from '../../tree/whiteouts.ts';
import { layerDigest } from './read.ts';
import { SequentialWriter } from './sequential-writer.ts';

export interface DiskOptions {
  /** Bytes of the disk; it uses only the space of its files. By default the disk is as small as possible, for reading only. */
  readonly size?: number;
  /** Files with texts to return, by path, links followed. */
  readonly texts?: readonly string[];
  readonly signal?: AbortSignal | undefined;
}
export interface WrittenDisk {
  /** Bytes, holes included. */
  readonly size: number;
  readonly inodes: number;
  /** Of the wanted files that exist. */
  readonly texts: ReadonlyMap<string, string>;
}

/** Longer files are not returned as texts. */
const maxTextBytes = 8 << 20;

/**
 * Writes the disk to `path`, which must not exist; the bytes are on the medium when it returns. Throws `store` when a layer
 * is not there, `archive` when one is not a valid tar, `integrity` when one is not what the config says, `disk-full`.
 */
export async function writeDisk(
  store: Store,
  image: PlatformImage,
  path: string,
  options: DiskOptions = {},
): Promise<WrittenDisk> {
  const { size, signal } = options;
  const layers = imageLayers(image);
  const tree = new Tree();
  const marks: Marks = new Map();
  for (const layer of layers) applyLayer(tree, await entriesOf(store, layer, tree, marks, signal));
  tree.addMissingParents('');
  const { entries, places } = settled(tree, marks);
  const wanted = new Map<string, string>();
  for (const text of options.texts ?? []) {
    const file = tree.file(text);
    if (file && file.content.size <= maxTextBytes && file.content.key) wanted.set(file.content.key, text);
  }
  const uuid = Buffer.from(image.descriptor.digest.slice('sha256:'.length), 'hex');
  const layout = layoutExt4(entries, { size, time: 0, uuid, label: 'kina' });
  const texts = new Map<string, string>();
  const handle = await open(path, 'wx', 0o600);
  try {
    await handle.truncate(layout.size);
    const writer = new SequentialWriter(handle);
    for (const { offset, bytes } of layout.metadata) await writer.put(offset, bytes);
    for (const layer of layers)
      for await (const [mark, member] of membersOf(store, layer, signal)) {
        const place = places.get(mark);
        let offset = place === undefined ? undefined : layout.offsets.get(place);
        if (member.type !== 'file' || offset === undefined) continue;
        const text: Buffer[] | undefined = wanted.has(mark) ? [] : undefined;
        for await (const chunk of member.body) {
          signal?.throwIfAborted();
          await writer.put(offset, chunk);
          offset += chunk.length;
          text?.push(chunk);
        }
        if (text) texts.set(wanted.get(mark) as string, Buffer.concat(text).toString('utf8'));
      }
    await writer.end();
    await handle.datasync();
    return { size: layout.size, inodes: layout.inodes, texts };
  } catch (error) {
    explainDiskFull(error, path);
  } finally {
    await handle.close();
  }
}

/** What a tree's entries do not say, in the order of the layers. */
type Marks = Map<string, { readonly mtime: bigint; readonly special: SpecialFile | undefined }>;

/** A layer's members, each with its mark. */
async function* membersOf(
  store: Store,
  layer: ImageLayer,
  signal: AbortSignal | undefined,
): AsyncGenerator<readonly [string, RootMember]> {
  const from = `the layer ${layer.name}`;
  const digest = await layerDigest(store, layer);
  const hash = digest === layer.diffId ? undefined : createHash('sha256');
  const bytes = async function* (): AsyncGenerator<Buffer> {
    for await (const chunk of decompressFile(store.blobPath(digest), { from })) {
      signal?.throwIfAborted();
      hash?.update(chunk);
      yield chunk;
    }
  };
  let ordinal = 0;
  for await (const member of readTar(bytes(), from, { rootfs: true }))
    yield [`${layer.position}/${ordinal++}`, member] as const;
  const found = hash && `sha256:${hash.digest('hex')}`;
  if (found !== undefined && found !== layer.diffId)
    throw new KinaError('integrity', `${from}, ${layer.descriptor.digest}, is not what the image's config says`, {
      details: [`expected ${layer.diffId}`, `found    ${found}, uncompressed`],
      hint: 'The image was built incorrectly, or its layers were replaced. Do not use it.',
    });
}

/**
 * The layer's entries. Its hard links become copies of what they name, mark included, because a later layer may replace
 * the one name and not the other; `below` is what lower layers left.
 */
async function entriesOf(
  store: Store,
  layer: ImageLayer,
  below: Tree,
  marks: Marks,
  signal: AbortSignal | undefined,
): Promise<Entry[]> {
  const entries: Entry[] = [];
  const known = new Map<string, Entry>();
  const early: { readonly at: number; readonly path: string; readonly target: string }[] = [];
  for await (const [mark, member] of membersOf(store, layer, signal)) {
    const entry = toEntry(member, mark);
    marks.set(mark, { mtime: member.mtime, special: specialOf(member) });
    if (entry.type === 'hardlink') {
      const file = known.get(entry.target) ?? below.get(below.realPath(entry.target));
      // Some writers put a link before its file (tar refuses those, others do not).
      if (!file || file.type === 'directory')
        early.push({ at: entries.length, path: entry.path, target: entry.target });
      entries.push(file ? { ...file, path: entry.path } : entry);
    } else entries.push(entry);
    known.set(entry.path, entries.at(-1) as Entry);
  }
  for (const { at, path, target } of early) {
    const file = known.get(target);
    if (!file || file.type === 'directory' || file.type === 'hardlink')
      throw new KinaError(
        'archive',
        `the layer ${layer.name}: /${path} is a hard link to /${target}, which is not a file`,
      );
    entries[at] = { ...file, path };
  }
  return entries;
}

function specialOf(member: RootMember): SpecialFile | undefined {
  if (member.type !== 'special') return undefined;
  const { type, kind, major, minor } = member;
  return { type, kind, major, minor };
}

/** In the tree a device or pipe is an empty file; its mark leads to its type. */
function toEntry(member: RootMember, mark: string): Entry {
  const { path, mode, uid, gid, xattrs } = member;
  // 2^32-1 means "no id" to the kernel.
  if (Math.max(uid, gid) >= 0xffff_ffff)
    throw new KinaError('archive', `/${path} belongs to ${uid}:${gid}, which are not valid ids`);
  // Attributes without a Linux name space come from other systems; every unpacker skips them.
  const kept = new Map([...(xattrs ?? [])].filter(([name]) => isKnownXattr(name)));
  const common = { path, mode, uid, gid, owner: mark, ...(kept.size ? { xattrs: kept } : {}) };
  if (member.type === 'directory') return { ...common, type: 'directory' };
  if (member.type === 'special') return { ...common, type: 'file', content: { size: 0, segments: [], key: '' } };
  if (member.type === 'file')
    return { ...common, type: 'file', content: { size: member.size, segments: [], key: mark } };
  // Linux ignores the modes of links; tars have all kinds.
  if (member.type === 'symlink') return { ...common, type: 'symlink', target: member.target, mode: 0o777 };
  return { ...common, type: 'hardlink', target: member.target };
}

/**
 * What the disk holds, files in the order of the layers. Names of one file are hard links again; `places` says under which
 * path the bytes of a mark belong.
 */
function settled(tree: Tree, marks: Marks): { entries: DiskEntry[]; places: Map<string, string> } {
  const places = new Map<string, string>();
  const entries = tree.sorted().map((entry): DiskEntry => {
    const { mtime = 0n, special } = marks.get(entry.owner) ?? {};
    if (entry.type !== 'file') return { ...entry, mtime };
    const { content, type, ...common } = entry;
    if (special) return { ...common, ...special, mtime };
    const target = places.get(content.key);
    if (target !== undefined) return { ...common, type: 'hardlink', target };
    places.set(content.key, entry.path);
    return { ...common, type, content, mtime };
  });
  const order = new Map([...marks.keys()].map((mark, i) => [mark, i]));
  const rank = ({ owner }: DiskEntry): number => order.get(owner) ?? -1;
  return { entries: entries.sort((a, b) => rank(a) - rank(b)), places };
}
