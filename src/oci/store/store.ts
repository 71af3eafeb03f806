/**
 * The store: one content-addressed folder for everything that kina fetches or builds. It is an OCI image layout
 * (`oci-layout`, `index.json`, `blobs/sha256/HEX`), so other tools can read it, plus:
 *
 *     refs/       one file per image name: the truth about names; `index.json` is derived from it
 *     records/    records of the caches: KIND/KEY.json
 *     tmp/        files being written, named after the process that writes them
 *     users/      one file per process that has the store open (see `prune`)
 *     anything    folders of other modules: unpacked packages, partial downloads
 *
 * There are no locks. A blob's name is its digest, so two writers of one name write the same bytes, and `rename` makes them
 * appear whole. Each name is a file; a process that changes one rewrites `index.json` from all of them and checks again after
 * the rename. The last process to rename has seen every name, so no update is lost. A process that dies in between leaves an
 * index that the next `open` updates.
 *
 * Blobs are read-only with a fixed modification time. A blob with a different time or size was modified, and is hashed again
 * before it is used. The access time says when kina last used it.
 */
import { createReadStream } from 'node:fs';
import { chmod, type FileHandle, mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { isErrno, KinaError } from '../../host/errors.ts';
import { atomicWrite, explainDiskFull } from '../../host/files.ts';
import { canonicalJson, sha256 } from '../../host/json.ts';
import { asDescriptor, type Descriptor, type Digest, hexOf, mediaType } from '../descriptor.ts';
import { digestMismatch, hashStream, inBigChunks, StreamHash } from '../hash.ts';
import { registerUser, sweepTemporaries, temporaryName } from './leases.ts';

/** One name in the store. `descriptor` is of an index or a manifest. */
export interface StoredImage {
  readonly ref: string;
  readonly descriptor: Descriptor;
}
/** What is known about bytes before they are written. */
export interface Expected {
  readonly digest?: Digest | undefined;
  readonly size?: number | undefined;
  /** What errors call the data. */
  readonly what?: string | undefined;
}
export interface Written {
  readonly digest: Digest;
  readonly size: number;
}

/** Modification time of every blob, in seconds. A different time means that another program wrote to the file. */
const blobTime = 1;
const layoutFile = '{"imageLayoutVersion":"1.0.0"}';

export class Store {
  /** Absolute path. */
  readonly root: string;

  private constructor(root: string) {
    this.root = root;
  }

  /** Opens the store, and creates it when it does not exist. Throws `store` when the folder cannot be written. */
  static async open(root: string): Promise<Store> {
    const store = new Store(resolve(root));
    try {
      for (const folder of ['blobs/sha256', 'refs', 'records', 'tmp', 'users'])
        await mkdir(join(store.root, folder), { recursive: true });
      await registerUser(store.root);
      await sweepTemporaries(store.root);
      if (!(await sameContent(join(store.root, 'oci-layout'), layoutFile)))
        await atomicWrite(join(store.root, 'oci-layout'), layoutFile);
      await store.#writeIndex();
    } catch (error) {
      explainUnwritable(error, store.root);
    }
    return store;
  }

  blobPath(digest: Digest): string {
    return join(this.root, 'blobs', 'sha256', hexOf(digest));
  }

  /**
   * True when the blob exists and is whole. Costs a `stat`, unless its size or time stamp is unexpected; then it is hashed, and
   * removed when damaged, so that the caller fetches or builds it again.
   */
  async has(digest: Digest, size?: number): Promise<boolean> {
    const path = this.blobPath(digest);
    const found = await stat(path).catch(absent);
    if (!found?.isFile()) return false;
    if (found.mtimeMs !== blobTime * 1000 || (size !== undefined && found.size !== size)) {
      const actual = await hashStream(createReadStream(path, { highWaterMark: 1 << 20 }));
      if (actual.digest !== digest) {
        await rm(path, { force: true });
        return false;
      }
      if (size !== undefined && actual.size !== size) return false; // the blob is right, the expectation is not
      await chmod(path, 0o444).catch(ignoreReadOnly);
    }
    await utimes(path, Date.now() / 1000, blobTime).catch(ignoreReadOnly);
    return true;
  }

  /** The blob's bytes, not verified. `start` and `end` are byte positions, both inclusive, as in Node's streams. */
  open(digest: Digest, range: { start?: number; end?: number } = {}): Readable {
    return createReadStream(this.blobPath(digest), { ...range, highWaterMark: 1 << 20 });
  }

  /**
   * Writes a blob and returns its digest. Throws `integrity` as soon as size or digest differ from the expected ones; then, and
   * when the source fails, nothing is left in the store.
   */
  async write(source: AsyncIterable<Uint8Array>, expected: Expected = {}): Promise<Written> {
    const temporary = this.temporaryPath();
    let handle: FileHandle | undefined;
    try {
      handle = await open(temporary, 'wx', 0o600);
      const hash = new StreamHash();
      for await (const chunk of inBigChunks(source)) {
        const writing = writeAll(handle, chunk); // the disk works while the processor hashes
        hash.update(chunk);
        await writing;
        if (expected.size !== undefined && hash.size > expected.size) throw differs(expected, undefined, hash.size);
      }
      const written = hash.result();
      if (mismatch(expected, written)) throw differs(expected, written.digest, written.size);
      // A blob that exists need not be written to the disk again.
      if (await this.has(written.digest, written.size)) {
        await handle.close();
        await rm(temporary, { force: true });
      } else await this.#seal(handle, temporary, written.digest);
      handle = undefined;
      return written;
    } catch (error) {
      await handle?.close().catch(() => {});
      await rm(temporary, { force: true });
      explainUnwritable(error, this.root);
    }
  }

  writeBytes(data: Uint8Array | string, expected: Expected = {}): Promise<Written> {
    const bytes = typeof data === 'string' ? Buffer.from(data) : data;
    return this.write(
      (async function* () {
        yield bytes;
      })(),
      expected,
    );
  }

  /** A small blob, verified. Throws `store` when it is missing or damaged, `archive` when it exceeds `limit` bytes. */
  async readBytes(digest: Digest, limit: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    let size = 0;
    for await (const chunk of this.verified(digest)) {
      size += chunk.length;
      if (size > limit) throw new KinaError('archive', `${digest} has more than the ${limit} bytes allowed`);
      parts.push(chunk);
    }
    return Buffer.concat(parts);
  }

  /**
   * Moves a finished file (a download) into the store after hashing it, unless the caller has hashed every byte while
   * writing it (`hashed`). On a mismatch it throws `integrity` and leaves the file where it is.
   */
  async adopt(file: string, expected: { digest: Digest; size?: number | undefined }, hashed = false): Promise<void> {
    if (!hashed) {
      const actual = await hashStream(createReadStream(file, { highWaterMark: 1 << 20 }));
      if (mismatch(expected, actual)) throw differs(expected, actual.digest, actual.size, file);
    }
    const temporary = this.temporaryPath();
    try {
      await rename(file, temporary);
    } catch (error) {
      if (!isErrno(error, 'EXDEV')) explainUnwritable(error, this.root);
      await this.write(createReadStream(file, { highWaterMark: 1 << 20 }), expected);
      await rm(file, { force: true });
      return;
    }
    await this.#seal(await open(temporary, 'r'), temporary, expected.digest);
  }

  /**
   * The blob's bytes, hashed while they are read: for everything that leaves the store. On a mismatch an error (`store`)
   * follows the last chunk, and the blob is removed.
   */
  async *verified(digest: Digest, size?: number): AsyncGenerator<Buffer> {
    const path = this.blobPath(digest);
    const hash = new StreamHash();
    try {
      for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
        hash.update(chunk);
        yield chunk;
      }
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw error;
      throw new KinaError('store', `${digest} is not in the store ${this.root}`, {
        hint: 'It was removed while in use. Build again.',
        cause: error,
      });
    }
    const actual = hash.result();
    if (actual.digest === digest && (size === undefined || actual.size === size)) return;
    if (actual.digest !== digest) await rm(path, { force: true });
    throw new KinaError('store', `${digest} in the store ${this.root} was damaged`, {
      hint: 'The damaged file was removed. Build again: it is fetched or built anew.',
      details: [`got ${actual.digest}, ${actual.size} bytes${size === undefined ? '' : `, want ${size} bytes`}`],
    });
  }

  /**
   * A folder in the store for the files of another module, e.g. `partial`; created when it does not exist. `prune` removes
   * entries with an old modification time, so callers touch an entry before they use it.
   */
  async folder(name: string): Promise<string> {
    if (!/^[a-z0-9][a-z0-9-]*$/.test(name)) throw new KinaError('internal', `bad folder name ${name}`);
    const path = join(this.root, name);
    await mkdir(path, { recursive: true }).catch((error) => explainUnwritable(error, this.root));
    return path;
  }

  /** A new path for a temporary file or folder; a later process removes it when this one dies. */
  temporaryPath(): string {
    return join(this.root, 'tmp', temporaryName());
  }

  /** The record under this key; undefined when there is none that can be read. The caller checks that it is still true. */
  async getRecord<T>(kind: string, key: string): Promise<T | undefined> {
    const path = this.#recordPath(kind, key);
    try {
      const value = JSON.parse(await readFile(path, 'utf8')) as T;
      await utimes(path, Date.now() / 1000, Date.now() / 1000).catch(ignoreReadOnly);
      return value;
    } catch {
      return undefined;
    }
  }

  async putRecord(kind: string, key: string, value: unknown): Promise<void> {
    await atomicWrite(this.#recordPath(kind, key), canonicalJson(value)).catch((error) =>
      explainUnwritable(error, this.root),
    );
  }

  /** All names, sorted. */
  async images(): Promise<StoredImage[]> {
    const folder = join(this.root, 'refs');
    const found: StoredImage[] = [];
    for (const name of (await readdir(folder)).filter((n) => n.endsWith('.json'))) {
      const image = await readRef(join(folder, name));
      if (image) found.push(image);
    }
    return found.sort((a, b) => (a.ref < b.ref ? -1 : a.ref > b.ref ? 1 : 0));
  }

  /** Gives an index or manifest in the store a name. An image that had the name loses it. */
  async tag(ref: string, descriptor: Descriptor): Promise<void> {
    if (!(await this.has(descriptor.digest, descriptor.size)))
      throw new KinaError('store', `cannot name ${descriptor.digest} ${ref}: it is not in the store ${this.root}`, {
        hint: 'Build again.',
      });
    const { mediaType: type, digest, size, annotations } = descriptor;
    await atomicWrite(
      this.#refPath(ref),
      canonicalJson({ ref, descriptor: { mediaType: type, digest, size, annotations } }),
    ).catch((error) => explainUnwritable(error, this.root));
    await this.#writeIndex();
  }

  /** False for an unknown name. The blobs stay until `prune`. */
  async untag(ref: string): Promise<boolean> {
    try {
      await rm(this.#refPath(ref));
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return false;
      explainUnwritable(error, this.root);
    }
    await this.#writeIndex();
    return true;
  }

  async resolve(ref: string): Promise<Descriptor | undefined> {
    return (await readRef(this.#refPath(ref)))?.descriptor;
  }

  #refPath(ref: string): string {
    return join(this.root, 'refs', `${hexOf(sha256(ref))}.json`);
  }

  #recordPath(kind: string, key: string): string {
    if (!/^[a-z0-9][a-z0-9-]*$/.test(kind)) throw new KinaError('internal', `bad record kind ${kind}`);
    const safe = /^[a-z0-9][a-z0-9._-]{0,127}$/.test(key) ? key : hexOf(sha256(key));
    return join(this.root, 'records', kind, `${safe}.json`);
  }

  /** Derives `index.json` from the names; see the header for why checking again makes a lock unnecessary. */
  async #writeIndex(): Promise<void> {
    const path = join(this.root, 'index.json');
    for (;;) {
      const manifests = (await this.images()).map(({ ref, descriptor }) => ({
        ...descriptor,
        annotations: { ...descriptor.annotations, 'org.opencontainers.image.ref.name': ref },
      }));
      const text = canonicalJson({ schemaVersion: 2, mediaType: mediaType.index, manifests });
      if (await sameContent(path, text)) return;
      await atomicWrite(path, text).catch((error) => explainUnwritable(error, this.root));
    }
  }

  /** Makes a complete temporary file a blob: read-only, with the fixed time, synced, then renamed. Closes `handle`. */
  async #seal(handle: FileHandle, temporary: string, digest: Digest): Promise<void> {
    const path = this.blobPath(digest);
    try {
      try {
        await handle.chmod(0o444);
        await handle.utimes(Date.now() / 1000, blobTime);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temporary, path);
      await syncFolder(dirname(path));
    } catch (error) {
      await rm(temporary, { force: true });
      explainUnwritable(error, this.root);
    }
  }
}

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let done = 0; done < chunk.length; ) done += (await handle.write(chunk, done, chunk.length - done)).bytesWritten;
}

function mismatch(expected: Expected, actual: Written): boolean {
  return (
    (expected.size !== undefined && expected.size !== actual.size) ||
    (expected.digest !== undefined && expected.digest !== actual.digest)
  );
}

function differs(want: Expected, digest: Digest | undefined, size: number, what = want.what ?? 'the data'): KinaError {
  if (digest === undefined)
    return new KinaError('integrity', `${what}: size mismatch: got more than the ${want.size} bytes expected`, {
      hint,
    });
  return digestMismatch(what, want, { digest, size }, hint);
}

const hint = 'The download or file is damaged, or the lock is out of date. Fetch it again.';

async function readRef(path: string): Promise<StoredImage | undefined> {
  try {
    const value = JSON.parse(await readFile(path, 'utf8')) as { ref?: unknown; descriptor?: unknown };
    const descriptor = asDescriptor(value.descriptor);
    return typeof value.ref === 'string' && descriptor ? { ref: value.ref, descriptor } : undefined;
  } catch {
    return undefined;
  }
}

async function sameContent(path: string, text: string): Promise<boolean> {
  return (await readFile(path, 'utf8').catch(() => undefined)) === text;
}

/** A rename is on the disk only after its folder is synced. Some file systems cannot sync folders. */
async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  await handle.sync().catch(() => {});
  await handle.close();
}

function absent(error: unknown): undefined {
  if (isErrno(error, 'ENOENT', 'ENOTDIR')) return undefined;
  throw error;
}

/** Time stamps cannot be set when the store has a different owner or is mounted read-only. */
function ignoreReadOnly(error: unknown): void {
  if (!isErrno(error, 'EPERM', 'EACCES', 'EROFS', 'ENOENT')) throw error;
}

function explainUnwritable(error: unknown, root: string): never {
  // On a read-only file system Node.js's recursive mkdir says ENOENT (24.21).
  const noFolder = isErrno(error, 'ENOENT') && (error as NodeJS.ErrnoException).syscall === 'mkdir';
  if (noFolder || isErrno(error, 'EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST'))
    throw new KinaError('store', `the store ${root} cannot be written: ${(error as Error).message}`, {
      hint: 'Make the folder writable, or place the store elsewhere with KINA_CACHE_DIR.',
      cause: error,
    });
  explainDiskFull(error, root);
}
