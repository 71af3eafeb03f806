/**
 * The only tar writer: deterministic, so the bytes depend on the entries and not on the machine or the time.
 *
 * Names are relative and sorted by their UTF-8 bytes, so parents come before children; directories end in `/`; owners
 * are numbers; every entry has the same time, which the caller gives. It refuses entries that some unpackers get wrong: a
 * duplicate path (forbidden by the OCI layer specification), a path through a symbolic link (Apple's ext4 unpacker drops
 * it silently), whiteouts (kina builds the whole tree before it splits it into layers, so a `.wh.` name can only be an
 * accident), components over 255 bytes, hard links whose file is not in the same archive.
 */
import { posix } from 'node:path';
import { KinaError } from '../host/errors.ts';
import type { Entry, FileEntry, HardlinkEntry, Segment } from './entry.ts';
import { SliceReader } from './slices.ts';
import { padding, tarHeader } from './tar-header.ts';
import { canonicalPath, comparePaths } from './tree.ts';

/** Chunk size, also of hashing and of writes to the store: large enough that the cost per chunk does not matter. */
const CHUNK = 1 << 20;
/** Two zero blocks end an archive. There is no further padding: blocking factors are for tapes. */
const END = 1024;

export interface TarOptions {
  /** Modification time of every entry: whole seconds since 1970. */
  mtime: number;
}

/**
 * The archive of these entries, in any order, as chunks of 1 MiB (the last one is shorter). Equal entries give equal
 * bytes. Throws `internal` for entries that a tree must not contain (see above), `store` if a file has lost bytes.
 */
export async function* writeTar(entries: readonly Entry[], options: TarOptions): AsyncGenerator<Buffer> {
  const ordered = prepare(entries);
  const out = new Chunks();
  const slices = new SliceReader();
  try {
    for (const entry of ordered) {
      out.put(tarHeader(entry, options.mtime));
      if (entry.type === 'file') {
        for (const segment of entry.content.segments) yield* copy(segment, slices, out);
        out.zeros(padding(entry.content.size));
      }
      yield* out.full();
    }
    out.zeros(END);
    yield* out.full();
    yield* out.rest();
  } finally {
    slices.close();
  }
}

/** The number of bytes that `writeTar` will produce, for progress and for a blob's size before it exists. */
export function tarSize(entries: readonly Entry[]): number {
  let size = END;
  for (const entry of prepare(entries)) {
    size += tarHeader(entry, 0).length;
    if (entry.type === 'file') size += entry.content.size + padding(entry.content.size);
  }
  return size;
}

async function* copy(segment: Segment, slices: SliceReader, out: Chunks): AsyncGenerator<Buffer> {
  if ('bytes' in segment) return out.put(segment.bytes);
  let done = 0;
  while (done < segment.size) {
    const room = out.room(segment.size - done);
    await slices.fill(segment.file, segment.offset + done, room);
    out.advance(room.length);
    done += room.length;
    yield* out.full();
  }
}

/**
 * Resolves hard links: in every group of names of one file, the name that sorts first becomes the file and the others
 * link to it, so unpackers that work in stream order always find the target. Attributes come from the file, since all
 * names share one inode. Throws `conflict` if a link's file is not among the entries: links cannot cross layers.
 */
export function settleHardlinks(entries: readonly Entry[]): Entry[] {
  const links = new Map<string, HardlinkEntry>();
  for (const entry of entries) if (entry.type === 'hardlink') links.set(entry.path, entry);
  if (links.size === 0) return [...entries];
  const files = new Map<string, FileEntry>();
  for (const entry of entries) if (entry.type === 'file') files.set(entry.path, entry);

  const first = new Map<FileEntry, string>();
  const fileOf = new Map<string, FileEntry>();
  for (const link of links.values()) {
    const file = behind(link, links, files);
    const best = first.get(file) ?? file.path;
    first.set(file, comparePaths(link.path, best) < 0 ? link.path : best);
    fileOf.set(link.path, file);
    fileOf.set(file.path, file);
  }
  return entries.map((entry) => {
    const file = fileOf.get(entry.path);
    if (!file) return entry;
    const holder = first.get(file) as string;
    const { content, ...attributes } = file;
    const name = { ...attributes, path: entry.path, owner: entry.owner };
    return holder === entry.path ? { ...name, type: 'file', content } : { ...name, type: 'hardlink', target: holder };
  });
}

function behind(link: HardlinkEntry, links: Map<string, HardlinkEntry>, files: Map<string, FileEntry>): FileEntry {
  let target = link.target;
  for (let steps = 0; steps <= links.size; steps++) {
    const file = files.get(target);
    if (file) return file;
    const next = links.get(target);
    if (!next) break;
    target = next.target;
  }
  throw new KinaError(
    'conflict',
    `/${link.path} is a hard link to /${link.target}, which is not a file in this layer`,
    {
      details: [`/${link.path} comes from ${link.owner}`],
      hint: 'Put both names into one layer, or select both from the archive.',
    },
  );
}

/** Sorts the entries, resolves links and checks everything. */
function prepare(entries: readonly Entry[]): Entry[] {
  const ordered = settleHardlinks(entries).sort((a, b) => comparePaths(a.path, b.path));
  const byPath = new Map<string, Entry>();
  for (const entry of ordered) {
    const problem = problemOf(entry, byPath);
    if (problem) throw new KinaError('internal', `cannot write /${entry.path} (${entry.owner}) to a layer: ${problem}`);
    byPath.set(entry.path, entry);
  }
  return ordered;
}

/** `seen` holds everything that sorts before the entry, including all its parents. */
function problemOf(entry: Entry, seen: Map<string, Entry>): string | undefined {
  const { path } = entry;
  if (path === '' || canonicalPath(path, entry.owner) !== path) return 'not a canonical path';
  if (seen.has(path)) return 'duplicate path';
  for (const component of path.split('/')) {
    if (component.startsWith('.wh.')) return 'the name is a whiteout, which deletes a file when unpacked';
    if (component.length > 85 && Buffer.byteLength(component) > 255) return 'a path component is longer than 255 bytes';
  }
  for (let parent = posix.dirname(path); parent !== '.'; parent = posix.dirname(parent)) {
    const above = seen.get(parent);
    if (above && above.type !== 'directory') return `/${parent} is a ${above.type}`;
  }
  if (!Number.isInteger(entry.mode) || entry.mode < 0 || entry.mode > 0o7777) return `invalid mode ${entry.mode}`;
  // The kernel reserves 2^32-1 for "no id".
  for (const id of [entry.uid, entry.gid])
    if (!Number.isInteger(id) || id < 0 || id >= 0xffff_ffff) return `invalid owner ${entry.uid}:${entry.gid}`;
  return undefined;
}

/** Splits its input into chunks of one size; files are read directly into the chunks. */
class Chunks {
  readonly #full: Buffer[] = [];
  #current = Buffer.allocUnsafeSlow(CHUNK);
  #used = 0;

  /** Free space in the current chunk, at most `wanted` bytes; report how much was filled with `advance`. */
  room(wanted: number): Buffer {
    return this.#current.subarray(this.#used, Math.min(CHUNK, this.#used + wanted));
  }

  advance(count: number): void {
    this.#used += count;
    if (this.#used < CHUNK) return;
    this.#full.push(this.#current);
    this.#current = Buffer.allocUnsafeSlow(CHUNK);
    this.#used = 0;
  }

  put(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const room = this.room(bytes.length - done);
      room.set(bytes.subarray(done, done + room.length));
      this.advance(room.length);
      done += room.length;
    }
  }

  zeros(count: number): void {
    for (let left = count; left > 0; ) {
      const room = this.room(left).fill(0);
      this.advance(room.length);
      left -= room.length;
    }
  }

  *full(): Generator<Buffer> {
    while (this.#full.length > 0) yield this.#full.shift() as Buffer;
  }

  *rest(): Generator<Buffer> {
    if (this.#used > 0) yield this.#current.subarray(0, this.#used);
  }
}
