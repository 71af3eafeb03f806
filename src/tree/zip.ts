/**
 * Reads zip archives by their central directory (PKWARE APPNOTE 6.3.10), in place: stored and deflated members, zip64,
 * Unix modes and symbolic links as Info-ZIP writes them. As in other tools, the central directory is authoritative; a
 * member whose local header has a different name is refused, because that is how archives hide files.
 */
import { createReadStream } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { crc32, createInflateRaw } from 'node:zlib';
import { KinaError } from '../host/errors.ts';
import type { Member } from './tar-read.ts';
import { canonicalPath } from './tree.ts';

export interface ZipMember {
  /** As stored, `/`-separated; directories end in `/`. */
  readonly name: string;
  readonly type: 'file' | 'directory' | 'symlink';
  /** 12 bits; 0644 or 0755 if the archive was not made on Unix. */
  readonly mode: number;
  readonly size: number;
  readonly packedSize: number;
  readonly crc: number;
  readonly method: 'stored' | 'deflated';
  /** Offset of the local header. */
  readonly offset: number;
}

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const END64 = 0x06064b50;
const END64_LOCATOR = 0x07064b50;
const MAX_DIRECTORY = 64 << 20;
/** PATH_MAX. */
const MAX_LINK = 4096;
const CHUNK = 256 << 10;
const METHODS = new Map<number, ZipMember['method']>([
  [0, 'stored'],
  [8, 'deflated'],
]);

/** All members in directory order. Throws `archive` for a malformed, encrypted or split archive or an unknown method. */
export async function readZip(file: string, from: string = file): Promise<ZipMember[]> {
  const handle = await open(file, 'r');
  try {
    const { size } = await handle.stat();
    const directory = await findDirectory(handle, size, from);
    if (directory.size > MAX_DIRECTORY || directory.offset + directory.size > size)
      throw malformed(from, 'the central directory is out of range');
    const bytes = await read(handle, directory.offset, directory.size, from);
    const members: ZipMember[] = [];
    let at = 0;
    for (let i = 0; i < directory.count; i++) {
      if (at + 46 > bytes.length || bytes.readUInt32LE(at) !== CENTRAL)
        throw malformed(from, 'the central directory is truncated');
      const length = 46 + bytes.readUInt16LE(at + 28) + bytes.readUInt16LE(at + 30) + bytes.readUInt16LE(at + 32);
      if (at + length > bytes.length) throw malformed(from, 'the central directory is truncated');
      members.push(parseMember(bytes.subarray(at, at + length), from));
      at += length;
    }
    return members;
  } finally {
    await handle.close();
  }
}

/**
 * All members in the form of tar members, so that one unpacker serves both: ids are 0, paths are canonical. Throws
 * `archive`, before any data is read, if they have more than `limit` bytes together.
 */
export async function* readZipMembers(
  file: string,
  options: { from: string; limit: number; onProgress?: ((bytes: number) => void) | undefined },
): AsyncGenerator<Member> {
  const { from, limit, onProgress } = options;
  const members = await readZip(file, from);
  const total = members.reduce((sum, member) => sum + member.size, 0);
  if (total > limit)
    throw new KinaError('archive', `${from} expands to ${total} bytes, more than the limit of ${limit}`);
  let done = 0;
  for (const member of members) {
    const path = canonicalPath(member.name, from);
    if (path === '') continue;
    const common = { path, mode: member.mode, uid: 0, gid: 0 };
    const body = readZipMember(file, member, from);
    if (member.type === 'directory') yield { ...common, type: 'directory' };
    else if (member.type === 'file') yield { ...common, type: 'file', size: member.size, body };
    else {
      if (member.size > MAX_LINK) throw malformed(from, `the link ${member.name} is too long`);
      const parts: Buffer[] = [];
      for await (const chunk of body) parts.push(chunk);
      yield { ...common, type: 'symlink', target: Buffer.concat(parts).toString('utf8') };
    }
    done += member.size;
    onProgress?.(done);
  }
}

/** A member's bytes. Throws `archive` if they do not match the size and CRC of the directory. */
export async function* readZipMember(file: string, member: ZipMember, from: string = file): AsyncGenerator<Buffer> {
  const start = await dataOffset(file, member, from);
  let size = 0;
  let crc = 0;
  for await (const chunk of decoded(file, member, start, from)) {
    size += chunk.length;
    if (size > member.size) break; // already too many
    crc = crc32(chunk, crc);
    yield chunk;
  }
  if (size !== member.size || crc !== member.crc)
    throw malformed(from, `${member.name} does not match its size or checksum`);
}

async function* decoded(file: string, member: ZipMember, start: number, from: string): AsyncGenerator<Buffer> {
  if (member.packedSize === 0) return;
  const input = createReadStream(file, { start, end: start + member.packedSize - 1, highWaterMark: CHUNK });
  if (member.method === 'stored') return yield* input;
  const inflate = createInflateRaw({ chunkSize: CHUNK });
  input.on('error', (error) => inflate.destroy(error));
  input.pipe(inflate);
  try {
    yield* inflate;
  } catch (cause) {
    throw malformed(from, `${member.name}: ${cause instanceof Error ? cause.message : 'damaged'}`, cause);
  } finally {
    input.destroy();
    inflate.destroy();
  }
}

async function dataOffset(file: string, member: ZipMember, from: string): Promise<number> {
  const handle = await open(file, 'r');
  try {
    const header = await read(handle, member.offset, 30, from);
    if (header.readUInt32LE(0) !== LOCAL) throw malformed(from, `no header for ${member.name}`);
    const nameLength = header.readUInt16LE(26);
    const name = await read(handle, member.offset + 30, nameLength, from);
    if (decodeName(name, from) !== member.name)
      throw malformed(from, `${member.name} has a different name in its local header`);
    return member.offset + 30 + nameLength + header.readUInt16LE(28);
  } finally {
    await handle.close();
  }
}

async function findDirectory(handle: FileHandle, size: number, from: string) {
  const tailStart = Math.max(0, size - 22 - 0xffff);
  const tail = await read(handle, tailStart, size - tailStart, from);
  for (let at = tail.length - 22; at >= 0; at--) {
    // The record's own comment length must reach the end of the file; otherwise the comment contained the signature.
    if (tail.readUInt32LE(at) !== END || at + 22 + tail.readUInt16LE(at + 20) !== tail.length) continue;
    const plain = {
      count: tail.readUInt16LE(at + 10),
      size: tail.readUInt32LE(at + 12),
      offset: tail.readUInt32LE(at + 16),
    };
    if (tail.readUInt16LE(at + 4) !== 0 && tail.readUInt16LE(at + 4) !== 0xffff)
      throw malformed(from, 'split archives are not supported');
    if (plain.count !== 0xffff && plain.size !== 0xffff_ffff && plain.offset !== 0xffff_ffff) return plain;
    const locatorAt = tailStart + at - 20;
    if (locatorAt < 0) return plain;
    const locator = await read(handle, locatorAt, 20, from);
    if (locator.readUInt32LE(0) !== END64_LOCATOR) return plain;
    const end = await read(handle, number64(locator, 8, from), 56, from);
    if (end.readUInt32LE(0) !== END64) throw malformed(from, 'the zip64 end record is missing');
    return { count: number64(end, 32, from), size: number64(end, 40, from), offset: number64(end, 48, from) };
  }
  throw malformed(from, 'truncated: the end record is missing');
}

function parseMember(record: Buffer, from: string): ZipMember {
  const nameLength = record.readUInt16LE(28);
  const name = decodeName(record.subarray(46, 46 + nameLength), from);
  const flags = record.readUInt16LE(8);
  // Bit 0: encrypted; 6: strong encryption; 13: masked headers.
  if (flags & 0x2041) throw malformed(from, `${name} is encrypted`);
  const method = METHODS.get(record.readUInt16LE(10));
  if (!method)
    throw new KinaError('archive', `${from}: ${name} uses the unsupported zip method ${record.readUInt16LE(10)}`, {
      hint: 'kina supports stored and deflated members.',
    });
  const sizes = {
    size: record.readUInt32LE(24),
    packedSize: record.readUInt32LE(20),
    offset: record.readUInt32LE(42),
  };
  const extra = record.subarray(46 + nameLength, 46 + nameLength + record.readUInt16LE(30));
  readZip64(extra, sizes, from);
  return { name, ...typeAndMode(record, name, from), ...sizes, crc: record.readUInt32LE(16), method };
}

/** Extra field 0x0001 holds, in this order, the numbers that did not fit. */
function readZip64(extra: Buffer, sizes: { size: number; packedSize: number; offset: number }, from: string): void {
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 0x0001) continue;
    let field = at + 4;
    for (const key of ['size', 'packedSize', 'offset'] as const) {
      if (sizes[key] !== 0xffff_ffff) continue;
      if (field + 8 > extra.length) throw malformed(from, 'a zip64 field is too short');
      sizes[key] = number64(extra, field, from);
      field += 8;
    }
    return;
  }
}

/** The upper half of the external attributes is `st_mode` if the upper byte of "made by" says Unix (3) or macOS (19). */
function typeAndMode(record: Buffer, name: string, from: string): Pick<ZipMember, 'type' | 'mode'> {
  const unix = [3, 19].includes(record.readUInt8(5)) ? record.readUInt16LE(40) : 0;
  const isFolder = name.endsWith('/');
  if (unix === 0) return isFolder ? { type: 'directory', mode: 0o755 } : { type: 'file', mode: 0o644 };
  const mode = unix & 0o7777;
  const format = unix & 0o170000;
  if (format === 0o120000) return { type: 'symlink', mode: 0o777 };
  if (isFolder || format === 0o040000) return { type: 'directory', mode };
  if (format === 0o100000 || format === 0) return { type: 'file', mode };
  throw malformed(from, `${name} is not a file, directory or symbolic link`);
}

/** UTF-8 whether flagged or not: other code pages cannot be distinguished, and wrong names are worse than an error. */
function decodeName(bytes: Buffer, from: string): string {
  const name = bytes.toString('utf8');
  if (!Buffer.from(name).equals(bytes)) throw malformed(from, `${JSON.stringify(name)} is not UTF-8`);
  if (name.includes('\\')) throw malformed(from, `${JSON.stringify(name)} uses backslashes`);
  return name;
}

function number64(bytes: Buffer, at: number, from: string): number {
  const value = Number(bytes.readBigUInt64LE(at));
  if (!Number.isSafeInteger(value)) throw malformed(from, 'a number is out of range');
  return value;
}

async function read(handle: FileHandle, offset: number, length: number, from: string): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  const { bytesRead } = await handle.read(bytes, 0, length, offset);
  if (bytesRead !== length) throw malformed(from, 'truncated');
  return bytes;
}

function malformed(from: string, why: string, cause?: unknown): KinaError {
  return new KinaError('archive', `${from} is not a valid zip archive: ${why}`, { cause });
}
