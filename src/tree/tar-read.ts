/**
 * Reads the members of a tar stream in order. tar-stream parses (ustar, GNU, PAX, long names); this makes it strict. Its
 * decoder turns attribute values into UTF-8 text, which destroys binary ones such as file capabilities, so the blocks
 * before each header are kept briefly and their `SCHILY.xattr.` records are read as bytes.
 */
import { pipeline } from 'node:stream/promises';
import { extract, type Header as TarHeader } from 'tar-stream';
import { KinaError } from '../host/errors.ts';
import { canonicalPath } from './tree.ts';

interface MemberCommon {
  /** Canonical path; the root itself is skipped. */
  readonly path: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly xattrs?: ReadonlyMap<string, Uint8Array>;
}
/** One member of an archive. Read a file's `body` before the next member, or it is skipped. */
export type Member =
  | (MemberCommon & { readonly type: 'file'; readonly size: number; readonly body: AsyncIterable<Buffer> })
  | (MemberCommon & { readonly type: 'directory' })
  | (MemberCommon & { readonly type: 'symlink'; readonly target: string })
  /** `target` is a canonical path. */
  | (MemberCommon & { readonly type: 'hardlink'; readonly target: string });

/** Members that only archives of whole root file systems contain. */
export type RootMember = (Member | (MemberCommon & SpecialFile)) & {
  /** Nanoseconds since 1970. */
  readonly mtime: bigint;
};
export interface SpecialFile {
  readonly type: 'special';
  readonly kind: 'character-device' | 'block-device' | 'fifo';
  /** Both 0 for a FIFO. */
  readonly major: number;
  readonly minor: number;
}
export interface TarReadOptions {
  /** The archive holds a root file system: devices and FIFOs are members, and a leading `/` in a path is that root. */
  readonly rootfs?: boolean;
}

const BLOCK = 512;
const XATTR = 'SCHILY.xattr.';

/** The actual content of a header; tar-stream's own types are incomplete. */
type Header = Omit<TarHeader, 'type' | 'linkname' | 'pax'> & {
  readonly type: TarHeader['type'] | null;
  readonly linkname: string | null;
  readonly pax: Readonly<Record<string, string>> | null;
  /** Offset of the member's data in the stream. */
  readonly byteOffset: number;
};

/**
 * The members of the tar in `chunks`. Throws `archive` for malformed and truncated streams (the end marker is required)
 * and for entries that a layer cannot hold: devices and FIFOs (but see `rootfs`), sparse files, paths that leave the
 * tree, names that are not UTF-8. `from` names the archive in messages.
 */
export function readTar(chunks: AsyncIterable<Buffer>, from: string): AsyncGenerator<Member>;
export function readTar(
  chunks: AsyncIterable<Buffer>,
  from: string,
  options: TarReadOptions & { readonly rootfs: true },
): AsyncGenerator<RootMember>;
export async function* readTar(
  chunks: AsyncIterable<Buffer>,
  from: string,
  options: TarReadOptions = {},
): AsyncGenerator<Member | RootMember> {
  const tar = extract();
  const tape = new Tape();
  const feeding = pipeline(tape.record(chunks), tar);
  // Awaited below; until then a failure must not count as an unhandled rejection.
  feeding.catch(() => {});
  let end = 0;
  try {
    for await (const entry of tar) {
      const header = entry.header as unknown as Header;
      const before = tape.between(end, header.byteOffset);
      // Directories have no data, whatever their size field says.
      end = header.byteOffset + (header.type === 'directory' ? 0 : roundUp(header.size));
      tape.forget(end);
      const member = toMember(header, before, bodyOf(entry as AsyncIterable<Buffer>, from), from, options);
      if (member) yield member;
      entry.resume();
    }
    await feeding;
  } catch (error) {
    throw explain(error, from);
  } finally {
    tar.destroy();
    await feeding.catch(() => {});
  }
  if (tape.total < end + BLOCK) throw malformed(from, 'truncated: the end marker is missing');
}

/** A file's bytes; stream errors during the read are reported here, not in the loop over members. */
async function* bodyOf(entry: AsyncIterable<Buffer>, from: string): AsyncGenerator<Buffer> {
  try {
    yield* entry;
  } catch (error) {
    throw explain(error, from);
  }
}

/** Errors with a code come from the disk, not from the archive; tar-stream's have none. */
function explain(error: unknown, from: string): unknown {
  if (error instanceof KinaError || (error instanceof Error && 'code' in error)) return error;
  return malformed(from, error instanceof Error ? error.message : String(error), error);
}

function toMember(
  header: Header,
  before: Buffer,
  body: AsyncIterable<Buffer>,
  from: string,
  { rootfs = false }: TarReadOptions,
): Member | RootMember | undefined {
  const records = extendedRecords(before, from);
  const name = text(header.name, from);
  const canonical = (raw: string) => canonicalPath(rootfs ? raw.replace(/^\/+/, '') : raw, from);
  const path = canonical(name);
  const pax = header.pax ?? {};
  if (Object.keys(pax).some((key) => key.startsWith('GNU.sparse.'))) throw unsupported(from, name, 'a sparse file');
  const common = {
    path,
    mode: number(header.mode, from) & 0o7777,
    uid: number(pax.uid === undefined ? header.uid : Number(pax.uid), from),
    gid: number(pax.gid === undefined ? header.gid : Number(pax.gid), from),
    ...xattrsOf(records),
    ...(rootfs ? { mtime: timeOf(header) } : {}),
  };
  switch (header.type) {
    case 'directory':
      return path === '' ? undefined : { ...common, type: 'directory' };
    case 'file':
    case 'contiguous-file':
      if (path === '') throw malformed(from, 'a file without a name');
      return { ...common, type: 'file', size: header.size, body };
    case 'symlink':
    case 'link': {
      const target = text(header.linkname ?? '', from);
      if (path === '' || target === '') throw malformed(from, `a link without ${path === '' ? 'a name' : 'a target'}`);
      if (header.type === 'symlink') return { ...common, type: 'symlink', target };
      return { ...common, type: 'hardlink', target: canonical(target) };
    }
    case 'character-device':
    case 'block-device':
    case 'fifo': {
      const { type: kind, devmajor = 0, devminor = 0 } = header;
      if (!rootfs || path === '') throw unsupported(from, name, `a ${kind.replace('-', ' ')}`);
      const device = kind === 'fifo' ? [0, 0] : [number(devmajor, from), number(devminor, from)];
      const [major = 0, minor = 0] = device;
      return { ...common, mtime: timeOf(header), type: 'special', kind, major, minor };
    }
    default: {
      const flag = String.fromCharCode(before[before.length - BLOCK + 156] as number);
      throw unsupported(
        from,
        name,
        flag === 'S' ? 'a sparse file' : `an entry of unknown type ${JSON.stringify(flag)}`,
      );
    }
  }
}

/** The PAX records of the extension headers before an entry's own header, which is the last block of `before`. */
function extendedRecords(before: Buffer, from: string): Map<string, Buffer> {
  const records = new Map<string, Buffer>();
  for (let at = 0; at < before.length - BLOCK; ) {
    const block = before.subarray(at, at + BLOCK);
    // tar(1) stops at the end marker; an entry that tar does not show must not be accepted.
    if (block.every((byte) => byte === 0)) throw malformed(from, 'data after the end marker');
    const size = Number.parseInt(block.toString('latin1', 124, 136).replace(/[\0 ].*$/s, '') || '0', 8);
    if (block[156] === 0x78) readRecords(before.subarray(at + BLOCK, at + BLOCK + size), records, from);
    at += BLOCK + roundUp(size);
  }
  return records;
}

/** A sequence of `LENGTH KEY=VALUE\n`; LENGTH counts the whole record. */
function readRecords(bytes: Buffer, records: Map<string, Buffer>, from: string): void {
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const length = space < 0 ? Number.NaN : Number(bytes.toString('latin1', at, space));
    const equals = bytes.indexOf(0x3d, space);
    const end = at + length;
    if (!(length > 0) || end > bytes.length || equals < 0 || equals >= end || bytes[end - 1] !== 0x0a)
      throw malformed(from, 'a PAX header is damaged');
    records.set(bytes.toString('utf8', space + 1, equals), bytes.subarray(equals + 1, end - 1));
    at = end;
  }
}

function xattrsOf(records: Map<string, Buffer>): { xattrs?: Map<string, Uint8Array> } {
  const xattrs = new Map<string, Uint8Array>();
  for (const [key, value] of records)
    if (key.startsWith(XATTR)) xattrs.set(key.slice(XATTR.length), Uint8Array.from(value));
  return xattrs.size > 0 ? { xattrs } : {};
}

/** Keeps the bytes of the stream since the end of the last member. */
class Tape {
  total = 0;
  #start = 0;
  #chunks: { at: number; bytes: Buffer }[] = [];

  async *record(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const bytes of chunks) {
      if (this.total + bytes.length > this.#start) this.#chunks.push({ at: this.total, bytes });
      this.total += bytes.length;
      yield bytes;
    }
  }

  forget(before: number): void {
    this.#start = before;
    this.#chunks = this.#chunks.filter(({ at, bytes }) => at + bytes.length > before);
  }

  between(from: number, to: number): Buffer {
    const parts = this.#chunks.map(({ at, bytes }) => bytes.subarray(Math.max(0, from - at), Math.max(0, to - at)));
    return Buffer.concat(parts);
  }
}

/** PAX times have fractions of seconds (POSIX.1-2017, pax, "mtime"), plain headers do not. */
function timeOf({ mtime, pax }: Header): bigint {
  const match = /^(-?)(\d{1,12})(?:\.(\d*))?$/.exec(pax?.mtime ?? '');
  if (!match) return BigInt(Math.floor((mtime?.getTime() ?? 0) / 1000)) * 1_000_000_000n;
  const [, sign, seconds = '', fraction = ''] = match;
  const time = BigInt(seconds) * 1_000_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, '0'));
  return sign ? -time : time;
}

/** tar-stream replaces bytes that are not UTF-8 with U+FFFD. */
function text(value: string, from: string): string {
  if (value.includes('\ufffd')) throw malformed(from, `${JSON.stringify(value)} is not UTF-8`);
  return value;
}

function number(value: number | undefined, from: string): number {
  if (value === undefined || !Number.isSafeInteger(value) || value < 0)
    throw malformed(from, `${value} is not a valid mode or owner`);
  return value;
}

function roundUp(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}

function unsupported(from: string, name: string, what: string): KinaError {
  return new KinaError('archive', `${from} contains ${what}: ${name}`, {
    hint: 'Layers can contain only files, directories and links. Exclude it with `select`, or use an archive without it.',
  });
}

function malformed(from: string, why: string, cause?: unknown): KinaError {
  return new KinaError('archive', `${from} is not a valid tar archive: ${why}`, { cause });
}
