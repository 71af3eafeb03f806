/**
 * Lays out a tree as an ext4 file system for the root disk of a virtual machine, without mount, mkfs or root.
 *
 * The layout is as plain as the format allows, because the disk is new: superblock, descriptors, bitmaps and inode tables
 * of all groups come first, then every file in one contiguous range, one after the other. Used blocks and used inodes
 * are therefore one range each, and a file's bytes can be written in any order. There is no journal: the disk lives as
 * long as its machine.
 *
 * Free space is a hole in a sparse file, so a 12 GiB disk takes only the room of its files. A read-only disk has no free
 * space and is marked read-only for the kernel, so several machines can share it.
 */
import { posix } from 'node:path';
import { KinaError } from '../host/errors.ts';
import {
  BLOCK,
  BLOCKS_PER_GROUP,
  bitmap,
  DESCRIPTOR,
  type DirectoryRecord,
  type DiskEntry,
  directoryBlocks,
  FAST_LINK,
  type Geometry,
  groupDescriptor,
  INODE,
  type InodeFields,
  inode,
  kindOf,
  leafBlock,
  needsLeaf,
  RESERVED_INODES,
  type Run,
  superblock,
  xattrBlock,
} from './ext4-format.ts';
import { comparePaths, directory } from './tree.ts';

export interface Ext4Options {
  /** Size of the disk in bytes. If absent, the disk is read-only and only as large as needed. */
  readonly size?: number | undefined;
  /** Time of everything that has no own time, in seconds since 1970. */
  readonly time: number;
  /** 16 bytes or more that identify the file system. */
  readonly uuid: Uint8Array;
  readonly label: string;
}

export interface Ext4Layout {
  /** Size of the disk in bytes. */
  readonly size: number;
  /** Inodes in use. */
  readonly inodes: number;
  /** Everything except file contents; write it into an empty (sparse) file. */
  readonly metadata: readonly { readonly offset: number; readonly bytes: Buffer }[];
  /** Offset of each file's bytes; for paths of type `file`. */
  readonly offsets: ReadonlyMap<string, number>;
}

const ROOT = 2;
const inodesPerGroup = 8192;

interface Node {
  readonly entry: DiskEntry;
  readonly number: number;
  links: number;
}

/** What belongs to an entry besides its inode. */
interface Parts {
  readonly xattrs: Buffer | undefined;
  /** The records of a directory or a long link's target; undefined for files, whose bytes are written separately. */
  readonly body: Buffer | undefined;
  readonly size: number;
  /** Number of blocks for the body or the file's bytes. */
  readonly blocks: number;
}

/**
 * Lays out entries, whose parents must all be present. File contents are placed in the order of the entries, so writing
 * them in that order is sequential. Throws `disk-full` if the disk is too small, `archive` for what the format cannot
 * hold.
 */
export function layoutExt4(entries: readonly DiskEntry[], options: Ext4Options): Ext4Layout {
  const readOnly = options.size === undefined;
  const nodes = number(entries, !readOnly);
  const inodes = [...nodes].filter(([, { entry }]) => entry.type !== 'hardlink');
  const count = RESERVED_INODES + inodes.length - 1;
  const children = childrenOf(nodes);
  const parts = new Map(inodes.map(([path, { entry }]) => [path, partsOf(path, entry, nodes, children)]));
  const geometry =
    options.size === undefined
      ? smallestGeometry(
          [...parts].reduce((sum, [path, one]) => sum + blocksOf(one, path), 0),
          count,
        )
      : geometryOf(Math.floor(options.size / BLOCK), count);
  const data = placeData(entries, parts, geometry.data);
  if (data.end > geometry.blocks)
    throw new KinaError(
      'disk-full',
      `the disk is too small: need ${data.end * BLOCK} bytes, have ${geometry.blocks * BLOCK}`,
    );
  const table = inodeTable(inodes, parts, data, options.time, count);
  const directories = new Array<number>(geometry.groups).fill(0);
  for (const [, node] of inodes)
    if (node.entry.type === 'directory') directories[Math.floor((node.number - 1) / geometry.inodesPerGroup)]!++;

  const used = { blocks: data.end, inodes: count };
  const perGroup = (make: (group: number) => Buffer): Buffer =>
    Buffer.concat(Array.from({ length: geometry.groups }, (_, group) => make(group)));
  const sizeOf = (group: number) => Math.min(BLOCKS_PER_GROUP, geometry.blocks - group * BLOCKS_PER_GROUP);
  return {
    size: options.size ?? geometry.blocks * BLOCK,
    inodes: count,
    offsets: new Map([...data.runs].map(([path, { start }]) => [path, start * BLOCK])),
    metadata: [
      { offset: 1024, bytes: superblock(geometry, used, { ...options, readOnly }) },
      { offset: BLOCK, bytes: perGroup((group) => groupDescriptor(geometry, used, group, directories[group]!)) },
      {
        offset: geometry.blockBitmaps * BLOCK,
        bytes: perGroup((group) => bitmap(used.blocks, group, sizeOf(group), BLOCKS_PER_GROUP)),
      },
      {
        offset: geometry.inodeBitmaps * BLOCK,
        bytes: perGroup((group) => bitmap(count, group, geometry.inodesPerGroup, geometry.inodesPerGroup)),
      },
      { offset: geometry.inodeTables * BLOCK, bytes: table },
      ...data.metadata,
    ],
  };
}

/** Everything outside of the tables, by path: first blocks of bodies and attributes, ranges of files. */
interface PlacedData {
  readonly bodies: ReadonlyMap<string, number | undefined>;
  readonly attributes: ReadonlyMap<string, number | undefined>;
  readonly runs: ReadonlyMap<string, Run>;
  readonly metadata: { offset: number; bytes: Buffer }[];
  /** The first free block. */
  readonly end: number;
}

/** Assigns blocks from `start` on: bodies, attributes, then the files in the order of the entries. */
function placeData(entries: readonly DiskEntry[], parts: ReadonlyMap<string, Parts>, start: number): PlacedData {
  const metadata: { offset: number; bytes: Buffer }[] = [];
  let end = start;
  const take = (blocks: number): number => {
    const first = end;
    end += blocks;
    return first;
  };
  const put = (bytes: Buffer): number => {
    const first = take(Math.ceil(bytes.length / BLOCK));
    metadata.push({ offset: first * BLOCK, bytes });
    return first;
  };
  const bodies = new Map([...parts].map(([path, { body }]) => [path, body && put(body)]));
  const attributes = new Map([...parts].map(([path, { xattrs }]) => [path, xattrs && put(xattrs)]));
  const runs = new Map<string, Run>();
  for (const { type, path } of entries) {
    if (type !== 'file') continue;
    const { blocks } = parts.get(path) as Parts;
    const run = { start: take(blocks), blocks };
    runs.set(path, needsLeaf(blocks, path) ? { ...run, leaf: put(leafBlock(run)) } : run);
  }
  return { bodies, attributes, runs, metadata, end };
}

/** The inode tables of all groups. `time`: seconds since 1970, for entries without a time. */
function inodeTable(
  inodes: readonly [string, Node][],
  parts: ReadonlyMap<string, Parts>,
  data: PlacedData,
  time: number,
  count: number,
): Buffer {
  const table = Buffer.alloc(count * INODE);
  for (const [path, { entry, number: own, links }] of inodes) {
    const { size, blocks } = parts.get(path) as Parts;
    const start = data.bodies.get(path);
    let content: InodeFields['content'] = data.runs.get(path) ?? { start: start ?? 0, blocks };
    if (entry.type === 'special') content = entry;
    else if (entry.type === 'symlink' && start === undefined) content = { target: entry.target };
    const mtime = entry.mtime ?? BigInt(time) * 1_000_000_000n;
    const xattrs = data.attributes.get(path);
    inode({ entry, size, links, time: mtime, content, xattrs }).copy(table, (own - 1) * INODE);
  }
  return table;
}

function partsOf(
  path: string,
  entry: DiskEntry,
  nodes: ReadonlyMap<string, Node>,
  children: ReadonlyMap<string, readonly string[]>,
): Parts {
  const xattrs = entry.xattrs?.size ? xattrBlock(entry.xattrs, path) : undefined;
  if (entry.type === 'special') return { xattrs, body: undefined, size: 0, blocks: 0 };
  if (entry.type === 'file') {
    const { size } = entry.content;
    return { xattrs, body: undefined, size, blocks: Math.ceil(size / BLOCK) };
  }
  const body =
    entry.type === 'directory' ? directoryBlocks(recordsOf(path, nodes, children)) : Buffer.from(entry.target);
  const size = body.length;
  if (entry.type !== 'directory' && size < FAST_LINK) return { xattrs, body: undefined, size, blocks: 0 };
  return { xattrs, body, size, blocks: Math.ceil(size / BLOCK) };
}

/** All blocks of an inode outside of the tables. */
function blocksOf({ xattrs, blocks }: Parts, path: string): number {
  return blocks + (xattrs ? 1 : 0) + (needsLeaf(blocks, path) ? 1 : 0);
}

/** Gives every entry an inode (hard links share their file's) and counts names. The root has the empty path. */
function number(entries: readonly DiskEntry[], lostAndFound: boolean): Map<string, Node> {
  const sorted = [...entries].sort((a, b) => comparePaths(a.path, b.path));
  // fsck moves orphaned inodes there, and complains if it is missing.
  if (lostAndFound && !sorted.some(({ path }) => path === 'lost+found'))
    sorted.push(directory('lost+found', 'ext4', 0o700));
  const nodes = new Map<string, Node>([['', { entry: directory('', 'ext4'), number: ROOT, links: 2 }]]);
  let next = RESERVED_INODES + 1;
  for (const entry of sorted)
    if (entry.type !== 'hardlink')
      nodes.set(entry.path, { entry, number: next++, links: entry.type === 'directory' ? 2 : 1 });
  for (const entry of sorted) {
    if (entry.type !== 'hardlink') continue;
    const file = nodes.get(entry.target);
    if (file?.entry.type !== 'file')
      throw new KinaError('archive', `/${entry.path} is a hard link to /${entry.target}, which is not a file`);
    file.links++;
    nodes.set(entry.path, { entry, number: file.number, links: 0 });
  }
  return nodes;
}

function parentOf(path: string): string {
  const parent = posix.dirname(path);
  return parent === '.' ? '' : parent;
}

/** The children of each directory; a directory gains one link (`..`) per subdirectory. */
function childrenOf(nodes: ReadonlyMap<string, Node>): Map<string, string[]> {
  const children = new Map<string, string[]>();
  for (const [path, { entry }] of nodes) {
    if (path === '') continue;
    const parent = nodes.get(parentOf(path));
    if (parent?.entry.type !== 'directory') throw new KinaError('archive', `/${path} has no parent directory`);
    if (entry.type === 'directory') parent.links++;
    const siblings = children.get(parentOf(path));
    if (siblings) siblings.push(path);
    else children.set(parentOf(path), [path]);
  }
  return children;
}

function recordsOf(
  path: string,
  nodes: ReadonlyMap<string, Node>,
  children: ReadonlyMap<string, readonly string[]>,
): DirectoryRecord[] {
  const record = (name: string, of: string): DirectoryRecord => {
    const { number: own, entry } = nodes.get(of)!;
    return { name, inode: own, kind: kindOf(entry) };
  };
  return [
    record('.', path),
    record('..', parentOf(path)),
    ...(children.get(path) ?? []).map((child) => record(posix.basename(child), child)),
  ];
}

/** One inode per 16 KiB, as mke2fs does, and always room for twice the number of files. */
function geometryOf(blocks: number, inodes: number): Geometry {
  const groups = Math.ceil(blocks / BLOCKS_PER_GROUP);
  return areas(blocks, groups, Math.max(inodesPerGroup, wholeBlocks((2 * inodes) / groups)));
}

/** The smallest disk for this many blocks of content: only the last inode table blocks have free room. */
function smallestGeometry(content: number, inodes: number): Geometry {
  // A group's inode bitmap is one block as well.
  let blocks = Math.max(content, (Math.ceil(inodes / BLOCKS_PER_GROUP) - 1) * BLOCKS_PER_GROUP + 1);
  for (;;) {
    const groups = Math.ceil(blocks / BLOCKS_PER_GROUP);
    const geometry = areas(blocks, groups, wholeBlocks(inodes / groups));
    if (geometry.data + content <= blocks) return geometry;
    blocks = geometry.data + content; // more groups may need larger areas, so repeat
  }
}

const perBlock = BLOCK / INODE;
const wholeBlocks = (inodes: number): number => Math.ceil(inodes / perBlock) * perBlock;

function areas(blocks: number, groups: number, inodesPerGroup: number): Geometry {
  const blockBitmaps = 1 + Math.ceil((groups * DESCRIPTOR) / BLOCK);
  const inodeBitmaps = blockBitmaps + groups;
  const inodeTables = inodeBitmaps + groups;
  const data = inodeTables + (groups * inodesPerGroup) / perBlock;
  return { blocks, groups, inodesPerGroup, blockBitmaps, inodeBitmaps, inodeTables, data };
}
