/**
 * The deterministic tar writer, the only one: entries in, bytes out, and nothing of this machine or this moment in them.
 *
 * Names are relative and sorted by their UTF-8 bytes, so parents come before children; directories end in `/`; owners
 * are numbers; every entry has the one time that the caller gives. It refuses what some unpacker gets wrong: a path
 * twice (forbidden by the OCI layer specification), a path through a symbolic link (Apple's ext4 unpacker drops it
 * without a word), whiteouts (kina knows its tree before it cuts layers, so a `.wh.` name can only be an accident),
 * components over 255 bytes, hard links whose file is not in the same archive.
 */
import { posix } from 'node:path';
import { KinaError } from '../host/errors.ts';
import type { Entry, FileEntry, HardlinkEntry, Segment } from './entry.ts';
import { SliceReader } from './slices.ts';
import { padding, tarHeader } from './tar-header.ts';
import { canonicalPath, comparePaths } from './tree.ts';

/** Chunks of one size, big enough that hashing and writing them costs no more than their bytes. */
/** What the store writes and hashes at a time, so that nobody has to join pieces. */
const CHUNK = 1 << 20;
/** Two zero blocks end an archive. No further padding: block factors are for tapes. */
const END = 1024;

export interface TarOptions {
  /** Modification time of every entry: whole seconds since 1970. */
  mtime: number;
}

/**
 * The archive of these entries, in any order, as chunks of 1 MiB (the last one is shorter). Equal entries give equal
 * bytes. Throws `internal` for entries that no tree should hold (see above), `store` when a file has lost bytes.
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

/** How many bytes `writeTar` will give: for progress and for a blob's size before it exists. */
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
 * Decides, for every group of names of one file, that the first-sorted name is the file and the others are links to it.
 * Unpackers that work in stream order then always find the target. Attributes are the file's: all names are one inode.
 * Throws `conflict` when a link's file is not among the entries: links do not reach across layers.
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
  throw new KinaError('conflict', `/${link.path} is a hard link to /${link.target}, which is no file beside it`, {
    details: [`/${link.path} comes from ${link.owner}`],
    hint: 'Keep both names in one layer, or select both from the archive.',
  });
}

/** Sorted, links settled, everything checked. */
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

/** `seen` holds everything that sorts before the entry, so all of its parents. */
function problemOf(entry: Entry, seen: Map<string, Entry>): string | undefined {
  const { path } = entry;
  if (path === '' || canonicalPath(path, entry.owner) !== path) return 'not a canonical path';
  if (seen.has(path)) return 'the path is there twice';
  for (const component of path.split('/')) {
    if (component.startsWith('.wh.')) return 'the name means "delete" to whoever unpacks it';
    if (component.length > 85 && Buffer.byteLength(component) > 255) return 'a component has more than 255 bytes';
  }
  for (let parent = posix.dirname(path); parent !== '.'; parent = posix.dirname(parent)) {
    const above = seen.get(parent);
    if (above && above.type !== 'directory') return `/${parent} is a ${above.type}`;
  }
  if (!Number.isInteger(entry.mode) || entry.mode < 0 || entry.mode > 0o7777) return `mode ${entry.mode}`;
  // 2^32-1 means "no id" to the kernel.
  for (const id of [entry.uid, entry.gid])
    if (!Number.isInteger(id) || id < 0 || id >= 0xffff_ffff) return `owner ${entry.uid}:${entry.gid}`;
  return undefined;
}

/** Cuts what is put into it into chunks of one size; files are read straight into them. */
class Chunks {
  readonly #full: Buffer[] = [];
  #current = Buffer.allocUnsafeSlow(CHUNK);
  #used = 0;

  /** Free space in the current chunk, at most `wanted` bytes; `advance` says how much was filled. */
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
