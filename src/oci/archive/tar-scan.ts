/**
 * Finds the files of a plain tar: it reads the headers and skips the contents, so that an image archive of gigabytes opens
 * in milliseconds and its blobs are used where they are. It reads what image tools write: ustar, PAX and GNU names and
 * sizes, and links. (pax: POSIX.1-2017, "pax Interchange Format"; GNU: tar manual, "Basic Tar Format".)
 */
import { type FileHandle, open } from 'node:fs/promises';
import { posix } from 'node:path';
import { KinaError } from '../../host/errors.ts';
import { hashStream } from '../hash.ts';
import { bytesOf, promisedDigest, type Slice } from './files.ts';

const block = 512;
const maxMembers = 20_000;
/** Names, link targets and PAX records are short. */
const maxNameBytes = 64 << 10;
const maxLinks = 8;

/** Finds a member by its name, through links. Undefined for what is not a regular file of the archive. */
export type FindMember = (name: string) => Slice | undefined;

/**
 * Undefined when `path` is not a plain tar, because it is compressed, for example. Throws `archive` when it is cut short,
 * and when two members of one name differ.
 */
export async function scanTar(path: string): Promise<FindMember | undefined> {
  const handle = await open(path, 'r');
  try {
    return await scan(handle, path);
  } finally {
    await handle.close();
  }
}

async function scan(handle: FileHandle, path: string): Promise<FindMember | undefined> {
  const end = (await handle.stat()).size;
  const files = new Map<string, Slice>();
  const links = new Map<string, string>();
  let members = 0;
  if (end < block) return undefined;
  let next: Attributes = {};
  for (let at = 0; at + block <= end; ) {
    const header = await read(handle, at, block);
    if (header.every((byte) => byte === 0)) break;
    if (!hasChecksum(header)) {
      if (members === 0) return undefined;
      throw damaged(path, `no tar header at byte ${at}`);
    }
    if (++members > maxMembers) throw damaged(path, `more than ${maxMembers} members`);
    const type = String.fromCharCode(header[156]!);
    const size = next.size ?? number(header, 124, 12);
    const offset = at + block;
    if (!(size >= 0) || offset + size > end) throw damaged(path, 'it is cut short');
    at = offset + Math.ceil(size / block) * block;
    if ('xgLK'.includes(type)) {
      if (size > maxNameBytes) throw damaged(path, `a name of ${size} bytes`);
      const body = (await read(handle, offset, size)).toString();
      if (type === 'x') next = { ...next, ...paxAttributes(body) };
      else if (type === 'L') next = { ...next, path: untilNul(body) };
      else if (type === 'K') next = { ...next, linkpath: untilNul(body) };
      continue;
    }
    const name = posix.normalize(next.path ?? ustarName(header));
    const target = next.linkpath ?? untilNul(header.toString('utf8', 157, 257));
    next = {};
    if (type === '0' || type === '\0') {
      const slice = { file: path, offset, size };
      const other = files.get(name);
      if (other && !(await isSame(name, other, slice)))
        throw new KinaError('archive', `${path}: ${name} is in the archive twice, with different content`);
      files.set(name, slice);
    } else if (type === '1') links.set(name, posix.normalize(target));
    else if (type === '2') links.set(name, posix.join(posix.dirname(name), target));
  }
  return (name) => {
    let key = posix.normalize(name);
    for (let hops = 0; hops < maxLinks && links.has(key); hops++) key = links.get(key)!;
    return files.get(key);
  };
}

/** Blobs are verified by their names anyway. */
async function isSame(name: string, a: Slice, b: Slice): Promise<boolean> {
  if (promisedDigest(name)) return true;
  if (a.size !== b.size) return false;
  return (await hashStream(bytesOf(a))).digest === (await hashStream(bytesOf(b))).digest;
}

interface Attributes {
  path?: string;
  linkpath?: string;
  size?: number;
}

function paxAttributes(body: string): Attributes {
  const found: Attributes = {};
  for (const [, key, value = ''] of body.matchAll(/^\d+ (path|linkpath|size)=(.*)$/gm)) {
    if (key === 'size') found.size = Number(value);
    else found[key as 'path' | 'linkpath'] = value;
  }
  return found;
}

async function read(handle: FileHandle, offset: number, size: number): Promise<Buffer> {
  const buffer = Buffer.alloc(size);
  const { bytesRead } = await handle.read(buffer, 0, size, offset);
  return buffer.subarray(0, bytesRead);
}

function untilNul(text: string): string {
  const nul = text.indexOf('\0');
  return nul < 0 ? text : text.slice(0, nul);
}

function ustarName(header: Buffer): string {
  const prefix = header.toString('latin1', 257, 262) === 'ustar' ? untilNul(header.toString('utf8', 345, 500)) : '';
  const name = untilNul(header.toString('utf8', 0, 100));
  return prefix ? `${prefix}/${name}` : name;
}

/** Octal digits, or for sizes from 8 GiB on GNU's big-endian number with the highest bit set. */
function number(header: Buffer, start: number, length: number): number {
  if (header[start]! & 0x80) {
    let value = header[start]! & 0x7f;
    for (let i = start + 1; i < start + length; i++) value = value * 256 + header[i]!;
    return value;
  }
  const digits = untilNul(header.toString('latin1', start, start + length)).trim();
  return digits === '' ? 0 : /^[0-7]+$/.test(digits) ? Number.parseInt(digits, 8) : Number.NaN;
}

function hasChecksum(header: Buffer): boolean {
  if (header.length < block) return false;
  let sum = 8 * 0x20; // the checksum counts itself as blanks
  for (const [i, byte] of header.entries()) if (i < 148 || i >= 156) sum += byte;
  return number(header, 148, 8) === sum;
}

function damaged(path: string, reason: string): KinaError {
  return new KinaError('archive', `${path} is not a readable tar archive: ${reason}`, {
    hint: 'Save or download it again.',
  });
}
