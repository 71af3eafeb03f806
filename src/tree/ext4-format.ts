/**
 * Encodes the records of an ext4 file system, little endian (kernel: Documentation/filesystems/ext4/, fs/ext4/ext4.h and
 * xattr.h). Only what `ext4.ts` writes: 4 KiB blocks, 256-byte inodes, extents, no journal, no checksums.
 */
import { KinaError } from '../host/errors.ts';
import type { Entry } from './entry.ts';
import type { SpecialFile } from './tar-read.ts';

export const BLOCK = 4096;
export const INODE = 256;
export const BLOCKS_PER_GROUP = 8 * BLOCK;
export const DESCRIPTOR = 32;
/** Inodes up to this one are reserved; the root is number 2. */
export const RESERVED_INODES = 10;
/** A shorter symbolic link is stored in its inode. */
export const FAST_LINK = 60;

/** An initialized extent covers at most this many blocks. */
const MAX_EXTENT = 32768;
/** The number of extents that fit, after the header, into an inode and into a leaf block. */
const INODE_EXTENTS = 4;
const LEAF_EXTENTS = (BLOCK - 12) / 12;

/** `compat`: ext_attr, dir_index, sparse_super2 (no superblock copies, so data can be contiguous). */
const COMPAT = 0x8 | 0x20 | 0x200;
/** `incompat`: filetype, extents, flex_bg (a group's bitmaps may be anywhere). */
const INCOMPAT = 0x2 | 0x40 | 0x200;
/** `ro_compat`: large_file, dir_nlink, extra_isize. */
const RO_COMPAT = 0x2 | 0x20 | 0x40;
/** Also `ro_compat`: the kernel mounts it read-only, whatever the mount options. */
const READ_ONLY = 0x1000;
const EXTENTS_FLAG = 0x80000;

/** Entries that a disk can hold and a tree cannot; times are the files' own, where known. */
export type DiskEntry = (Entry | (Omit<Entry & { type: 'directory' }, 'type'> & SpecialFile)) & {
  /** Nanoseconds since 1970. */
  readonly mtime?: bigint;
};

/** File type bits in an inode's mode, and the type in directory records. */
const types = {
  file: { mode: 0o100000, record: 1 },
  hardlink: { mode: 0o100000, record: 1 },
  directory: { mode: 0o040000, record: 2 },
  symlink: { mode: 0o120000, record: 7 },
  'character-device': { mode: 0o020000, record: 3 },
  'block-device': { mode: 0o060000, record: 4 },
  fifo: { mode: 0o010000, record: 5 },
} as const;

type Kind = keyof typeof types;
export const kindOf = (entry: DiskEntry): Kind => (entry.type === 'special' ? entry.kind : entry.type);

export interface Geometry {
  readonly blocks: number;
  readonly groups: number;
  readonly inodesPerGroup: number;
  /** First blocks of the areas, which follow each other; data begins at `data`. */
  readonly blockBitmaps: number;
  readonly inodeBitmaps: number;
  readonly inodeTables: number;
  readonly data: number;
}

export interface Usage {
  /** All blocks before this one are in use, all others are free. */
  readonly blocks: number;
  /** The same for inodes, counted from 1. */
  readonly inodes: number;
}

export function superblock(
  geometry: Geometry,
  used: Usage,
  { time, uuid, label, readOnly }: { time: number; uuid: Uint8Array; label: string; readOnly: boolean },
): Buffer {
  const bytes = Buffer.alloc(1024);
  const u16 = (at: number, value: number) => bytes.writeUInt16LE(value, at);
  const u32 = (at: number, value: number) => bytes.writeUInt32LE(value, at);
  u32(0, geometry.groups * geometry.inodesPerGroup);
  u32(4, geometry.blocks);
  u32(12, geometry.blocks - used.blocks);
  u32(16, geometry.groups * geometry.inodesPerGroup - used.inodes);
  u32(24, 2); // 1024 << 2 bytes per block
  u32(28, 2);
  u32(32, BLOCKS_PER_GROUP);
  u32(36, BLOCKS_PER_GROUP);
  u32(40, geometry.inodesPerGroup);
  u32(48, time); // last written
  u16(54, 0xffff); // no check after a number of mounts
  u16(56, 0xef53);
  u16(58, 1); // clean
  u16(60, 1); // continue after errors
  u32(64, time); // last checked
  u32(76, 1); // dynamic inode sizes
  u32(84, RESERVED_INODES + 1);
  u16(88, INODE);
  u32(92, COMPAT);
  u32(96, INCOMPAT);
  u32(100, readOnly ? RO_COMPAT | READ_ONLY : RO_COMPAT);
  bytes.set(uuid.subarray(0, 16), 104);
  bytes.write(label, 120, 16, 'latin1');
  bytes.set(uuid.subarray(0, 16), 236); // directory hash seed
  bytes[252] = 1; // half MD4
  u32(264, time); // created
  u16(348, 32);
  u16(350, 32); // bytes in use beyond the first 128 of an inode
  u32(352, 1); // directory hashes use signed characters
  bytes[372] = 4; // 16 groups per flex group
  return bytes;
}

/** One group descriptor. `directories` is the number of directory inodes in the group. */
export function groupDescriptor(geometry: Geometry, used: Usage, group: number, directories: number): Buffer {
  const bytes = Buffer.alloc(DESCRIPTOR);
  const { inodesPerGroup } = geometry;
  bytes.writeUInt32LE(geometry.blockBitmaps + group, 0);
  bytes.writeUInt32LE(geometry.inodeBitmaps + group, 4);
  bytes.writeUInt32LE(geometry.inodeTables + (group * inodesPerGroup * INODE) / BLOCK, 8);
  const size = Math.min(BLOCKS_PER_GROUP, geometry.blocks - group * BLOCKS_PER_GROUP);
  bytes.writeUInt16LE(size - share(used.blocks, group, size, BLOCKS_PER_GROUP), 12);
  bytes.writeUInt16LE(inodesPerGroup - share(used.inodes, group, inodesPerGroup, inodesPerGroup), 14);
  bytes.writeUInt16LE(directories, 16);
  return bytes;
}

/** The bitmap of one group of `size` items, of which the first `used` overall are taken. The padding counts as taken. */
export function bitmap(used: number, group: number, size: number, perGroup: number): Buffer {
  const bytes = Buffer.alloc(BLOCK);
  const set = (from: number, to: number): void => {
    for (let bit = from; bit < to; bit++) {
      if (bit % 8 === 0 && to - bit >= 8) {
        bytes.fill(0xff, bit / 8, to >> 3);
        bit = (to >> 3) * 8 - 1;
      } else bytes[bit >> 3]! |= 1 << (bit & 7);
    }
  };
  set(0, share(used, group, size, perGroup));
  set(size, 8 * BLOCK);
  return bytes;
}

/** How many of the first `used` items belong to a group. */
function share(used: number, group: number, size: number, perGroup: number): number {
  return Math.max(0, Math.min(size, used - group * perGroup));
}

/** A contiguous range of blocks, and the leaf block that lists its extents if they do not fit into the inode. */
export interface Run {
  readonly start: number;
  readonly blocks: number;
  readonly leaf?: number;
}

/** Whether a range of this many blocks needs a leaf. Throws `archive` above what one leaf can list (about 44 GB). */
export function needsLeaf(blocks: number, path: string): boolean {
  if (blocks > LEAF_EXTENTS * MAX_EXTENT) throw new KinaError('archive', `/${path} is too large for an ext4 file`);
  return blocks > INODE_EXTENTS * MAX_EXTENT;
}

/** The extents of a range, at most `max`, after their header. */
function extentNode({ start, blocks }: Run, max: number): Buffer {
  const count = Math.ceil(blocks / MAX_EXTENT);
  const bytes = Buffer.alloc(12 + 12 * max);
  extentHeader(bytes, count, max, 0);
  for (let i = 0; i < count; i++) {
    bytes.writeUInt32LE(i * MAX_EXTENT, 12 + 12 * i);
    bytes.writeUInt16LE(Math.min(MAX_EXTENT, blocks - i * MAX_EXTENT), 16 + 12 * i);
    bytes.writeUInt32LE(start + i * MAX_EXTENT, 20 + 12 * i);
  }
  return bytes;
}

function extentHeader(bytes: Buffer, count: number, max: number, depth: number): void {
  bytes.writeUInt16LE(0xf30a, 0);
  bytes.writeUInt16LE(count, 2);
  bytes.writeUInt16LE(max, 4);
  bytes.writeUInt16LE(depth, 6);
}

export const leafBlock = (run: Run): Buffer => extentNode(run, LEAF_EXTENTS);

export interface InodeFields {
  readonly entry: DiskEntry;
  readonly size: number;
  readonly links: number;
  /** Nanoseconds since 1970. */
  readonly time: bigint;
  /** The target of a fast link, a device number, or the location of the bytes. */
  readonly content: { readonly target: string } | { readonly major: number; readonly minor: number } | Run;
  readonly xattrs?: number | undefined;
}

export function inode({ entry, size, links, time, content, xattrs }: InodeFields): Buffer {
  const bytes = Buffer.alloc(INODE);
  bytes.writeUInt16LE(types[kindOf(entry)].mode | entry.mode, 0);
  bytes.writeUInt16LE(entry.uid & 0xffff, 2);
  bytes.writeUInt32LE(size % 2 ** 32, 4);
  for (const [at, extra] of TIMES) writeTime(bytes, time, at, extra);
  bytes.writeUInt16LE(entry.gid & 0xffff, 24);
  bytes.writeUInt16LE(links, 26);
  let blocks = xattrs === undefined ? 0 : 1;
  if ('target' in content) bytes.write(content.target, 40, 'utf8');
  else if ('major' in content) bytes.set(deviceNumber(content), 40);
  else {
    blocks += content.blocks + (content.leaf === undefined ? 0 : 1);
    bytes.writeUInt32LE(EXTENTS_FLAG, 32);
    if (content.leaf === undefined) extentNode(content, INODE_EXTENTS).copy(bytes, 40);
    else {
      const root = bytes.subarray(40, 100);
      extentHeader(root, 1, INODE_EXTENTS, 1);
      root.writeUInt32LE(content.leaf, 16);
    }
  }
  bytes.writeUInt32LE((blocks * BLOCK) / 512, 28);
  bytes.writeUInt32LE(xattrs ?? 0, 104);
  bytes.writeUInt32LE(Math.floor(size / 2 ** 32), 108);
  bytes.writeUInt16LE(entry.uid >>> 16, 120);
  bytes.writeUInt16LE(entry.gid >>> 16, 122);
  bytes.writeUInt16LE(32, 128);
  return bytes;
}

/** Access, change, modification and creation time: the offsets of the seconds and of the extra bits. */
const TIMES = [
  [8, 140],
  [12, 132],
  [16, 136],
  [144, 148],
] as const;

/** 34 bits of seconds, the upper two stored beside 30 bits of nanoseconds (inodes.rst, "Inode Timestamps"). */
function writeTime(bytes: Buffer, time: bigint, at: number, extra: number): void {
  const nanoseconds = ((time % SECOND) + SECOND) % SECOND;
  const wanted = (time - nanoseconds) / SECOND;
  const seconds = wanted < FIRST_SECOND ? FIRST_SECOND : wanted > LAST_SECOND ? LAST_SECOND : wanted;
  const low = BigInt.asIntN(32, seconds);
  bytes.writeInt32LE(Number(low), at);
  bytes.writeUInt32LE(Number((nanoseconds << 2n) | ((seconds - low) >> 32n)), extra);
}
const SECOND = 1_000_000_000n;
const FIRST_SECOND = -(2n ** 31n);
const LAST_SECOND = 2n ** 34n - 2n ** 31n - 1n;

/** Small numbers use the old 16-bit encoding, others the 32-bit one in the next field (inode_set_dev in ext4). */
function deviceNumber({ major, minor }: { major: number; minor: number }): Buffer {
  const bytes = Buffer.alloc(8);
  if (major < 256 && minor < 256) bytes.writeUInt32LE((major << 8) | minor, 0);
  else bytes.writeUInt32LE(((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0, 4);
  return bytes;
}

export interface DirectoryRecord {
  readonly name: string;
  readonly inode: number;
  readonly kind: Kind;
}

/** A directory's blocks: records never cross a block, and the last one of each block extends to its end. */
export function directoryBlocks(records: readonly DirectoryRecord[]): Buffer {
  const blocks: Buffer[] = [];
  let block = Buffer.alloc(BLOCK);
  let [at, last] = [0, 0];
  const close = (): void => {
    block.writeUInt16LE(BLOCK - last, last + 4);
    blocks.push(block);
  };
  for (const { name, inode: number, kind } of records) {
    const bytes = Buffer.from(name);
    const length = 8 + 4 * Math.ceil(bytes.length / 4);
    if (at + length > BLOCK) {
      close();
      block = Buffer.alloc(BLOCK);
      at = 0;
    }
    block.writeUInt32LE(number, at);
    block.writeUInt16LE(length, at + 4);
    block[at + 6] = bytes.length;
    block[at + 7] = types[kind].record;
    block.set(bytes, at + 8);
    last = at;
    at += length;
  }
  close();
  return Buffer.concat(blocks);
}

/** Attribute name prefixes that are encoded as a number. */
const prefixes: readonly (readonly [string, number])[] = [
  ['user.', 1],
  ['system.posix_acl_access', 2],
  ['system.posix_acl_default', 3],
  ['trusted.', 4],
  ['security.', 6],
  ['system.', 7],
];

/** Whether Linux has this attribute's namespace; other systems have others. */
export const isKnownXattr = (name: string): boolean => prefixes.some(([text]) => name.startsWith(text));

/** The block of extended attributes of a file. Throws `archive` if they do not fit or have an unknown namespace. */
export function xattrBlock(xattrs: ReadonlyMap<string, Uint8Array>, path: string): Buffer {
  const named = [...xattrs].map(([full, value]) => {
    const prefix = prefixes.find(([text]) => full.startsWith(text));
    if (!prefix) throw new KinaError('archive', `/${path} has an extended attribute in an unknown namespace: ${full}`);
    const name = Buffer.from(full.slice(prefix[0].length));
    return { index: prefix[1], name, value: full.startsWith('system.posix_acl_') ? aclOnDisk(value, path) : value };
  });
  named.sort((a, b) => a.index - b.index || a.name.length - b.name.length || Buffer.compare(a.name, b.name));
  const block = Buffer.alloc(BLOCK);
  block.writeUInt32LE(0xea020000, 0);
  block.writeUInt32LE(1, 4); // reference count
  block.writeUInt32LE(1, 8); // one block
  let at = 32;
  let end = BLOCK;
  let hash = 0;
  for (const { index, name, value } of named) {
    const padded = Buffer.alloc(4 * Math.ceil(value.length / 4));
    padded.set(value);
    end -= padded.length;
    const next = at + 16 + 4 * Math.ceil(name.length / 4);
    if (next + 4 > end) throw new KinaError('archive', `/${path} has too many extended attributes`);
    block[at] = name.length;
    block[at + 1] = index;
    block.writeUInt16LE(end, at + 2);
    block.writeUInt32LE(value.length, at + 8);
    const own = xattrHash(name, padded);
    block.writeUInt32LE(own, at + 12);
    block.set(name, at + 16);
    block.set(padded, end);
    hash = ((hash << 16) ^ (hash >>> 16) ^ own) >>> 0;
    at = next;
  }
  block.writeUInt32LE(hash, 12);
  return block;
}

/**
 * An ACL: the kernel interface has the same fields as the disk, but an id in every entry and a different version
 * (linux/posix_acl_xattr.h, fs/ext4/acl.h).
 */
function aclOnDisk(value: Uint8Array, path: string): Buffer {
  const bytes = Buffer.from(value);
  if (bytes.length % 8 !== 4 || bytes.readUInt32LE(0) !== 2)
    throw new KinaError('archive', `/${path} has an ACL in an unknown format`);
  const parts: Buffer[] = [Buffer.from([1, 0, 0, 0])];
  for (let at = 4; at < bytes.length; at += 8) {
    const named = [0x02, 0x08].includes(bytes.readUInt16LE(at)); // named user or group
    parts.push(bytes.subarray(at, at + (named ? 8 : 4)));
  }
  return Buffer.concat(parts);
}

function xattrHash(name: Buffer, value: Buffer): number {
  let hash = 0;
  for (const byte of name) hash = (hash << 5) ^ (hash >>> 27) ^ byte;
  for (let at = 0; at < value.length; at += 4) hash = (hash << 16) ^ (hash >>> 16) ^ value.readUInt32LE(at);
  return hash >>> 0;
}
