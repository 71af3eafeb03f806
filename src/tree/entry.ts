/**
 * The description of a file in an image: path, type, mode, owner and where its bytes are. The bytes stay where they are
 * (in memory if small, otherwise a slice of an immutable file in the store) until a layer is written, so the tree of a
 * whole root file system takes a few megabytes.
 *
 * Paths are canonical everywhere: relative, `/`-separated, no leading `./`, no trailing `/`, no `.` or `..` segments,
 * UTF-8. The root has no entry.
 */
import { closeSync, createReadStream, openSync, readSync } from 'node:fs';
import { KinaError } from '../host/errors.ts';
import { sha256 } from '../host/json.ts';

/** A run of bytes: in memory, or `size` bytes at `offset` of an immutable file. */
export type Segment =
  | { readonly bytes: Uint8Array }
  | { readonly file: string; readonly offset: number; readonly size: number };

/** A file's bytes. Equal `key`s mean equal bytes (not the reverse), on every machine. */
export interface Content {
  readonly size: number;
  readonly segments: readonly Segment[];
  readonly key: string;
}

interface Common {
  readonly path: string;
  /** 12 bits: permissions, setuid, setgid, sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Extended attributes, e.g. `security.capability`; raw bytes. */
  readonly xattrs?: ReadonlyMap<string, Uint8Array>;
  /** Where it came from, for messages and for `files`: a package (`deb:systemd`), a step (`runtime/containerd`). */
  readonly owner: string;
}
export interface FileEntry extends Common {
  readonly type: 'file';
  readonly content: Content;
}
export interface DirectoryEntry extends Common {
  readonly type: 'directory';
}
interface SymlinkEntry extends Common {
  readonly type: 'symlink';
  /** As stored in the link: absolute or relative to the link's folder. */
  readonly target: string;
}
/** A second name of a file in the same tree. */
export interface HardlinkEntry extends Common {
  readonly type: 'hardlink';
  /** Canonical path of that file. */
  readonly target: string;
}
export type Entry = FileEntry | DirectoryEntry | SymlinkEntry | HardlinkEntry;

/** Content held in memory. */
export function bytesContent(data: Uint8Array | string): Content {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  return { size: bytes.length, segments: bytes.length ? [{ bytes }] : [], key: sha256(bytes) };
}

/** Content that is a slice of an immutable file; `key` must identify those bytes on every machine. */
export function sliceContent(file: string, offset: number, size: number, key: string): Content {
  return { size, segments: size ? [{ file, offset, size }] : [], key };
}

/** Up to this size a stream costs more than the read itself; see `readSlice`. */
const SMALL = 64 << 10;

/** The bytes of a content as a stream of chunks. */
export async function* readContent(content: Content): AsyncGenerator<Buffer> {
  for (const segment of content.segments) {
    if ('bytes' in segment) {
      yield Buffer.from(segment.bytes.buffer, segment.bytes.byteOffset, segment.bytes.byteLength);
      continue;
    }
    let seen = 0;
    const { file, offset, size } = segment;
    if (size <= SMALL) {
      const bytes = Buffer.alloc(size);
      readSlice(file, offset, bytes);
      yield bytes;
      continue;
    }
    const stream = createReadStream(file, { start: offset, end: offset + size - 1, highWaterMark: 1 << 18 });
    for await (const chunk of stream) {
      seen += (chunk as Buffer).length;
      yield chunk as Buffer;
    }
    if (seen !== size) throw shorter(file, offset, seen, size);
  }
}

/**
 * Reads `length` bytes at `offset`, fewer at the end of the content. Random access: an ELF header or its dynamic section
 * costs a few kilobytes, whatever the file's size.
 */
export async function readRange(content: Content, offset: number, length: number): Promise<Buffer> {
  const result = Buffer.alloc(Math.max(0, Math.min(length, content.size - offset)));
  let start = 0;
  for (const segment of content.segments) {
    const size = 'bytes' in segment ? segment.bytes.length : segment.size;
    const from = Math.max(offset, start);
    const to = Math.min(offset + result.length, start + size);
    if (from < to) {
      const part = result.subarray(from - offset, to - offset);
      if ('bytes' in segment) part.set(segment.bytes.subarray(from - start, to - start));
      else readSlice(segment.file, segment.offset + from - start, part);
    }
    start += size;
  }
  return result;
}

/**
 * Synchronous, because ranges are short: a few kilobytes from the page cache take microseconds, while a round trip
 * through the thread pool for each open, read and close made reading the ELF facts of 2000 files take seconds.
 */
function readSlice(file: string, offset: number, into: Buffer): void {
  const fd = openSync(file, 'r');
  try {
    let done = 0;
    while (done < into.length) {
      const count = readSync(fd, into, done, into.length - done, offset + done);
      if (count === 0) throw shorter(file, offset, done, into.length);
      done += count;
    }
  } finally {
    closeSync(fd);
  }
}

/** The error for a store file that has become shorter than the end of a slice. */
export function shorter(file: string, offset: number, seen: number, size: number): KinaError {
  return new KinaError('store', `${file} is truncated: got ${seen} of ${size} bytes at offset ${offset}`, {
    hint: 'Run `kina cache prune --all` and build again.',
  });
}

/** The whole content in memory; throws `archive` above `limit` bytes. For configuration files, scripts, unit files. */
export async function readAll(content: Content, limit = 16 << 20): Promise<Buffer> {
  if (content.size > limit)
    throw new KinaError('archive', `refusing to read ${content.size} bytes into memory (limit ${limit})`);
  const parts: Buffer[] = [];
  for await (const chunk of readContent(content)) parts.push(chunk);
  return Buffer.concat(parts);
}
