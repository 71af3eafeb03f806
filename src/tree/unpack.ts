/**
 * The unpack cache. The files of an archive are appended to one pack file, and entries point to slices of it. No file is
 * created on the host, whose file system may fold case and cannot represent owners; a package needs two files instead of
 * thousands; and a second build reads a small JSON file instead of the archive.
 *
 *     ROOT/<id>/data           the bytes of all selected files, one after the other, read-only
 *     ROOT/<id>/entries.json   paths, attributes, slices, and the expected size and time of `data`
 *
 * A folder appears with one rename, complete and synced. Processes that unpack the same archive at the same time do not
 * wait for each other; the later one discards its copy. A folder that was modified is created again.
 */
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { decompressFile } from '../host/compression/decompress.ts';
import { isErrno, KinaError } from '../host/errors.ts';
import { explainDiskFull, uniqueSuffix } from '../host/files.ts';
import { sha256 } from '../host/json.ts';
import { type Entry, sliceContent } from './entry.ts';
import { ArchiveNames, type PackSlice, type SavedEntry } from './names.ts';
import { type Member, readTar } from './tar-read.ts';
import { readZipMembers } from './zip.ts';

export interface UnpackOptions {
  /** The owner of the entries; also names the archive in messages. */
  owner: string;
  /** The archive, or the file that contains it at `slice`. */
  file: string;
  /** Its range in the file (a member of a .deb); called only if the archive has to be read. */
  slice?: () => Promise<{ readonly offset: number; readonly size: number }>;
  /** Default `tar`, compressed or not; a zip is always a whole file. */
  format?: 'tar' | 'zip';
  /** Which paths to keep; default all. `key` must reflect it. */
  select?: (path: string) => boolean;
  /** Maximum unpacked bytes; default 16 GiB. */
  limit?: number;
  /** Called with the unpacked bytes so far; not called on a cache hit. */
  onProgress?: (bytes: number) => void;
}

/** Increase it when the meaning of the files changes. */
const FORMAT = 1;
const DEFAULT_LIMIT = 16 * 2 ** 30;
const BUFFER = 1 << 20;

interface Saved {
  readonly format: number;
  readonly size: number;
  /** Whole seconds: fractions do not survive every way of copying a cache. */
  readonly mtime: number;
  readonly entries: readonly SavedEntry[];
}

export class Unpacker {
  readonly #root: string;
  /** Packages for all architectures are requested by two images at once. */
  readonly #running = new Map<string, Promise<Saved>>();

  constructor(root: string) {
    this.#root = root;
  }

  /**
   * The entries of an archive, sorted by path. `key` identifies the archive's bytes and the selection: equal keys must
   * mean equal entries. Modification times are not kept. Throws `archive` for malformed, truncated or malicious archives
   * and leaves nothing behind.
   */
  async unpack(key: string, options: UnpackOptions): Promise<Entry[]> {
    const folder = join(this.#root, sha256(key).slice('sha256:'.length));
    let running = this.#running.get(folder);
    if (!running) {
      running = this.#make(folder, options).finally(() => this.#running.delete(folder));
      this.#running.set(folder, running);
    }
    const data = join(folder, 'data');
    return (await running).entries.map((entry) => restore(entry, data, options.owner));
  }

  async #make(folder: string, options: UnpackOptions): Promise<Saved> {
    const found = load(folder);
    if (found) return found;
    const temporary = `${folder}.${uniqueSuffix()}.tmp`;
    await mkdir(temporary, { recursive: true });
    try {
      const saved = await write(temporary, options);
      return await publish(temporary, folder, saved);
    } catch (error) {
      return explainDiskFull(error, folder);
    } finally {
      await rm(temporary, { recursive: true, force: true });
    }
  }
}

/**
 * The content of a cache folder; undefined if it is missing or was modified. Synchronous: these are hundreds of small
 * files, and thread pool round trips would take longer than the reads.
 */
function load(folder: string): Saved | undefined {
  try {
    const text = readFileSync(join(folder, 'entries.json'), 'utf8');
    const data = statSync(join(folder, 'data'));
    const saved = JSON.parse(text) as Saved;
    const intact = saved.format === FORMAT && saved.size === data.size && saved.mtime === seconds(data.mtimeMs);
    return intact ? { ...saved, entries: saved.entries.map(withAttributes) } : undefined;
  } catch (error) {
    if (isErrno(error, 'ENOENT') || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

async function publish(temporary: string, folder: string, saved: Saved): Promise<Saved> {
  for (let attempt = 0; ; attempt++) {
    try {
      await rename(temporary, folder);
      return saved;
    } catch (error) {
      if (!isErrno(error, 'ENOTEMPTY', 'EEXIST') || attempt === 5) throw error;
    }
    const found = load(folder);
    if (found) return found;
    // It was modified: move it away, also by rename, so that readers never see half of it.
    const aside = `${folder}.${uniqueSuffix()}.tmp`;
    await rename(folder, aside).catch(() => {});
    await rm(aside, { recursive: true, force: true });
  }
}

async function write(folder: string, options: UnpackOptions): Promise<Saved> {
  const select = options.select ?? (() => true);
  const wanted = new Set<string>();
  for (;;) {
    const path = join(folder, 'data');
    await rm(path, { force: true });
    const names = new ArchiveNames(options.owner);
    const { size, mtime } = await writeData(path, names, options, (p) => select(p) || wanted.has(p));
    const { entries, missing } = names.settle(select);
    if (missing.length > 0) {
      // A selected hard link names a file that was not selected: read again, and keep its bytes.
      for (const origin of missing) wanted.add(origin);
      continue;
    }
    const saved: Saved = { format: FORMAT, size, mtime, entries };
    const handle = await open(join(folder, 'entries.json'), 'wx', 0o444);
    try {
      await handle.writeFile(JSON.stringify(saved, replace));
      await handle.sync();
    } finally {
      await handle.close();
    }
    return saved;
  }
}

async function writeData(
  path: string,
  names: ArchiveNames,
  options: UnpackOptions,
  select: (path: string) => boolean,
): Promise<{ size: number; mtime: number }> {
  const handle = await open(path, 'wx', 0o444);
  const pack = new PackWriter(handle);
  try {
    for await (const member of members(options)) {
      if (member.type === 'hardlink') names.link(member.path, member.target);
      else if (member.type !== 'file') {
        const { path: name, ...inode } = member;
        names.set(name, inode);
      } else {
        const { path: name, size, body, ...attributes } = member;
        const slice = select(name) ? await pack.append(body, size, options.owner) : undefined;
        names.set(name, { ...attributes, slice, origin: name });
      }
    }
    await pack.flush();
    await handle.sync();
    const { size, mtimeMs } = await handle.stat();
    return { size, mtime: seconds(mtimeMs) };
  } finally {
    pack.release();
    await handle.close();
  }
}

async function* members(options: UnpackOptions): AsyncGenerator<Member> {
  const { file, owner: from, limit = DEFAULT_LIMIT, onProgress } = options;
  if (options.format === 'zip') return yield* readZipMembers(file, { from, limit, onProgress });
  const slice = await options.slice?.();
  const chunks = decompressFile(file, { limit, from, ...(slice && { offset: slice.offset, size: slice.size }) });
  yield* readTar(counted(chunks, onProgress), from);
}

async function* counted(chunks: AsyncIterable<Buffer>, onProgress: UnpackOptions['onProgress']) {
  let bytes = 0;
  for await (const chunk of chunks) {
    yield chunk;
    bytes += chunk.length;
    onProgress?.(bytes);
  }
}

/** Buffers of finished writers: allocating one per package is what makes the garbage collector run. */
const spare: Buffer[] = [];

/** Appends to the pack file in large writes, however small the files. */
class PackWriter {
  readonly #handle: FileHandle;
  #buffer = spare.pop() ?? Buffer.allocUnsafeSlow(BUFFER);
  #used = 0;
  #position = 0;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  async append(body: AsyncIterable<Buffer>, size: number, from: string): Promise<PackSlice> {
    const hash = createHash('sha256');
    const offset = this.#position;
    for await (const chunk of body) {
      hash.update(chunk);
      this.#position += chunk.length;
      for (let done = 0; done < chunk.length; ) {
        const count = chunk.copy(this.#buffer, this.#used, done);
        this.#used += count;
        done += count;
        if (this.#used === BUFFER) await this.flush();
      }
    }
    if (this.#position !== offset + size)
      throw new KinaError('archive', `${from}: wrong file size: got ${this.#position - offset}, want ${size}`);
    return { offset, size, sha256: hash.digest('hex') };
  }

  async flush(): Promise<void> {
    for (let done = 0; done < this.#used; )
      done += (await this.#handle.write(this.#buffer, done, this.#used - done)).bytesWritten;
    this.#used = 0;
  }

  /** Call it last: the buffer is then reused. */
  release(): void {
    spare.push(this.#buffer);
    this.#buffer = Buffer.alloc(0);
  }
}

function restore(entry: SavedEntry, data: string, owner: string): Entry {
  if (entry.type !== 'file') return { ...entry, owner };
  const { slice, ...rest } = entry;
  // The digest of the content, so that a layer's cache key does not depend on the archive that contained the file.
  return { ...rest, owner, content: sliceContent(data, slice.offset, slice.size, `sha256:${slice.sha256}`) };
}

/** Attributes as `[[name, base64]]`, since JSON has neither maps nor bytes. */
function replace(_key: string, value: unknown): unknown {
  if (!(value instanceof Map)) return value;
  return [...(value as Map<string, Uint8Array>)].map(([name, bytes]) => [name, Buffer.from(bytes).toString('base64')]);
}

/** Reverses `replace`. Not a JSON reviver, which is called for every value of some ten thousand entries. */
function withAttributes(entry: SavedEntry): SavedEntry {
  if (entry.xattrs === undefined) return entry;
  const saved = entry.xattrs as unknown as [string, string][];
  return { ...entry, xattrs: new Map(saved.map(([name, text]) => [name, Buffer.from(text, 'base64')])) };
}

function seconds(milliseconds: number): number {
  return Math.floor(milliseconds / 1000);
}
