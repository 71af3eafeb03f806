/**
 * A tree as an ext4 file system, laid out before a byte is written: what a virtual machine's root disk is made of, without
 * mount, mkfs or root.
 *
 * The layout is as plain as the format allows, because the disk is new: superblock, descriptors, bitmaps and inode tables
 * of all groups stand at the front, then every file in one run, one after the other. So what is in use is one stretch of
 * blocks and one of inodes, and a file's bytes can be streamed to their place in any order. There is no journal: a disk
 * like this lives as long as its machine.
 *
 * Holes of a sparse file serve as what is free; a 12 GiB disk takes the room of its files.
 */
import { posix } from 'node:path';
import { KinaError } from '../host/errors.ts';
import type { Entry } from './entry.ts';
import {
  BLOCK,
  BLOCKS_PER_GROUP,
  bitmap,
  DESCRIPTOR,
  type DirectoryRecord,
  directoryBlocks,
  FAST_LINK,
  type Geometry,
  groupDescriptor,
  INODE,
  inode,
  leafBlock,
  needsLeaf,
  RESERVED_INODES,
  type Run,
  superblock,
  xattrBlock,
} from './ext4-format.ts';
import { comparePaths, directory } from './tree.ts';

export interface Ext4Options {
  /** Bytes of the disk. */
  readonly size: number;
  /** Of everything, in seconds since 1970. */
  readonly time: number;
  /** 16 bytes or more that name the file system. */
  readonly uuid: Uint8Array;
  readonly label: string;
}

export interface Ext4Layout {
  /** Everything but the files' bytes; write it into an empty (sparse) file. */
  readonly metadata: readonly { readonly offset: number; readonly bytes: Buffer }[];
  /** Offset of each file's bytes; for paths of type `file`. */
  readonly offsets: ReadonlyMap<string, number>;
}

const ROOT = 2;
const inodesPerGroup = 8192;

interface Node {
  readonly entry: Entry;
  readonly number: number;
  links: number;
}

/**
 * Lays out entries, which name all their parents. Throws `disk-full` when the disk is too small, `archive` for what the
 * format cannot hold.
 */
export function layoutExt4(entries: readonly Entry[], options: Ext4Options): Ext4Layout {
  const nodes = number(entries);
  const count =
    RESERVED_INODES + nodes.size - 1 - [...nodes.values()].filter((n) => n.entry.type === 'hardlink').length;
  const geometry = geometryOf(Math.floor(options.size / BLOCK), count);
  const children = childrenOf(nodes);
  const metadata: { offset: number; bytes: Buffer }[] = [];
  const offsets = new Map<string, number>();
  const table = Buffer.alloc(count * INODE);
  const directories = new Array<number>(geometry.groups).fill(0);

  let next = geometry.data;
  const take = (blocks: number): number => {
    const start = next;
    next += blocks;
    return start;
  };
  const put = (bytes: Buffer): number => {
    const start = take(Math.ceil(bytes.length / BLOCK));
    metadata.push({ offset: start * BLOCK, bytes });
    return start;
  };
  for (const [path, { entry, number: own, links }] of nodes) {
    if (entry.type === 'hardlink') continue;
    const xattrs = entry.xattrs?.size ? put(xattrBlock(entry.xattrs, path)) : undefined;
    let content: Run | { target: string };
    let size: number;
    if (entry.type === 'file') {
      size = entry.content.size;
      const blocks = Math.ceil(size / BLOCK);
      content = { start: take(blocks), blocks };
      offsets.set(path, content.start * BLOCK);
      if (needsLeaf(blocks, path)) content = { ...content, leaf: put(leafBlock(content)) };
    } else if (entry.type === 'directory') {
      directories[Math.floor((own - 1) / geometry.inodesPerGroup)]!++;
      const bytes = directoryBlocks(recordsOf(path, nodes, children));
      size = bytes.length;
      content = { start: put(bytes), blocks: size / BLOCK };
    } else {
      const target = Buffer.from(entry.target);
      size = target.length;
      content = size < FAST_LINK ? { target: entry.target } : { start: put(target), blocks: 1 };
    }
    inode({ entry, size, links, time: options.time, content, xattrs }).copy(table, (own - 1) * INODE);
  }
  if (next > geometry.blocks)
    throw new KinaError('disk-full', `the files need ${next * BLOCK} bytes, the disk has ${geometry.blocks * BLOCK}`);

  const used = { blocks: next, inodes: count };
  const perGroup = (make: (group: number) => Buffer): Buffer =>
    Buffer.concat(Array.from({ length: geometry.groups }, (_, group) => make(group)));
  const sizeOf = (group: number) => Math.min(BLOCKS_PER_GROUP, geometry.blocks - group * BLOCKS_PER_GROUP);
  return {
    offsets,
    metadata: [
      { offset: 1024, bytes: superblock(geometry, used, options) },
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
      ...metadata,
    ],
  };
}

/** Gives every entry an inode, hard links their file's, and counts names. The root has the empty path. */
function number(entries: readonly Entry[]): Map<string, Node> {
  const sorted = [...entries].sort((a, b) => comparePaths(a.path, b.path));
  // fsck puts there what it finds without a name, and complains when it cannot.
  if (!sorted.some(({ path }) => path === 'lost+found')) sorted.push(directory('lost+found', 'ext4', 0o700));
  const nodes = new Map<string, Node>([['', { entry: directory('', 'ext4'), number: ROOT, links: 2 }]]);
  let next = RESERVED_INODES + 1;
  for (const entry of sorted)
    if (entry.type !== 'hardlink')
      nodes.set(entry.path, { entry, number: next++, links: entry.type === 'directory' ? 2 : 1 });
  for (const entry of sorted) {
    if (entry.type !== 'hardlink') continue;
    const file = nodes.get(entry.target);
    if (file?.entry.type !== 'file')
      throw new KinaError('archive', `/${entry.path} is a hard link to /${entry.target}, which is no file`);
    file.links++;
    nodes.set(entry.path, { entry, number: file.number, links: 0 });
  }
  return nodes;
}

function parentOf(path: string): string {
  const parent = posix.dirname(path);
  return parent === '.' ? '' : parent;
}

/** Paths below each directory, and one more name (`..`) for directories that have directories. */
function childrenOf(nodes: ReadonlyMap<string, Node>): Map<string, string[]> {
  const children = new Map<string, string[]>();
  for (const [path, { entry }] of nodes) {
    if (path === '') continue;
    const parent = nodes.get(parentOf(path));
    if (parent?.entry.type !== 'directory') throw new KinaError('archive', `/${path} is in no directory`);
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
    return { name, inode: own, type: entry.type };
  };
  return [
    record('.', path),
    record('..', parentOf(path)),
    ...(children.get(path) ?? []).map((child) => record(posix.basename(child), child)),
  ];
}

/** One inode for 16 KiB as mke2fs makes them, and always room for as many again as there are files. */
function geometryOf(blocks: number, inodes: number): Geometry {
  const groups = Math.ceil(blocks / BLOCKS_PER_GROUP);
  const perBlock = BLOCK / INODE;
  const wanted = Math.max(inodesPerGroup, Math.ceil((2 * inodes) / groups / perBlock) * perBlock);
  const blockBitmaps = 1 + Math.ceil((groups * DESCRIPTOR) / BLOCK);
  const inodeBitmaps = blockBitmaps + groups;
  const inodeTables = inodeBitmaps + groups;
  const data = inodeTables + (groups * wanted) / perBlock;
  return { blocks, groups, inodesPerGroup: wanted, blockBitmaps, inodeBitmaps, inodeTables, data };
}
