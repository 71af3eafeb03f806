/**
 * Unfinished downloads, kept so that the next attempt, in this process or a later one, can resume.
 *
 * In the store's folder `partial/`, by the digest of the file:
 *
 *     HEX                    received bytes, without a writer
 *     HEX.HOST-PID-RANDOM    the same, while a process writes to it
 *     HEX.validator          the URL and version that they belong to: {"url", "validator"}
 *
 * A process claims a partial file by renaming it, so only one process gets it; a second one that wants the same file
 * starts from zero. That can cause two downloads, but never two writers. The file of a killed process is taken over once
 * the process is gone. A lost or outdated validator does no harm, because the finished file is hashed; it only avoids
 * useless transfers.
 */
import { type FileHandle, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../host/errors.ts';
import { atomicWrite, explainDiskFull } from '../host/files.ts';
import type { Digest } from '../oci/descriptor.ts';
import { StreamHash } from '../oci/hash.ts';
import { isAlive, temporaryName } from '../oci/store/leases.ts';

export class PartialFile {
  /** Bytes received so far. */
  size = 0;
  /** True if these bytes came from several transfers or from an earlier process. */
  resumed = false;
  readonly #rest: string;
  readonly #path: string;
  readonly #validatorPath: string;
  #handle: FileHandle;
  #hash = new StreamHash();

  private constructor(rest: string, path: string, handle: FileHandle) {
    this.#rest = rest;
    this.#path = path;
    this.#validatorPath = `${rest}.validator`;
    this.#handle = handle;
  }

  /** Claims the existing file, or starts a new one. The caller ends it with `finish` or `release`. */
  static async claim(folder: string, digest: Digest): Promise<PartialFile> {
    const hex = digest.slice('sha256:'.length);
    const path = join(folder, `${hex}.${temporaryName()}`);
    try {
      await takeOver(folder, hex, path);
      const handle = await open(path, 'a+', 0o600);
      const file = new PartialFile(join(folder, hex), path, handle);
      await file.#rehash();
      return file;
    } catch (error) {
      return explainDiskFull(error, path);
    }
  }

  /** The If-Range value for continuing with this URL; undefined if it is not known. */
  async validator(url: string): Promise<string | undefined> {
    try {
      const known = JSON.parse(await readFile(this.#validatorPath, 'utf8'));
      return known.url === url && typeof known.validator === 'string' ? known.validator : undefined;
    } catch {
      return undefined;
    }
  }

  async setValidator(url: string, validator: string | undefined): Promise<void> {
    if (validator === undefined) await rm(this.#validatorPath, { force: true });
    else await atomicWrite(this.#validatorPath, JSON.stringify({ url, validator }));
  }

  async append(chunk: Uint8Array): Promise<void> {
    try {
      const writing = this.#writeAll(chunk); // writing and hashing overlap
      this.#hash.update(chunk);
      await writing;
      this.size += chunk.length;
    } catch (error) {
      explainDiskFull(error, this.#path);
    }
  }

  /** Discards all received bytes. */
  async reset(): Promise<void> {
    await this.#handle.truncate(0);
    this.#hash = new StreamHash();
    this.size = 0;
    this.resumed = false;
  }

  /** The digest of all bytes. Call it once, when nothing more will be appended. */
  digest(): Digest {
    return this.#hash.result().digest;
  }

  /** Closes the file and returns its path, which then belongs to the caller. */
  async finish(): Promise<string> {
    await this.#handle.close();
    await rm(this.#validatorPath, { force: true });
    return this.#path;
  }

  /** Keeps the bytes for a later attempt; an empty file is deleted. */
  async release(): Promise<void> {
    await this.#handle.close();
    const other = await stat(this.#rest).catch(() => undefined);
    if (this.size > (other?.size ?? 0)) await rename(this.#path, this.#rest);
    else await rm(this.#path, { force: true });
    if (!this.size && !other) await rm(this.#validatorPath, { force: true });
  }

  /** Bytes of an earlier attempt must be hashed as well. */
  async #rehash(): Promise<void> {
    for await (const chunk of this.#handle.createReadStream({ start: 0, autoClose: false, highWaterMark: 1 << 20 }))
      this.#hash.update(chunk as Buffer);
    this.size = this.#hash.size;
    this.resumed = this.size > 0;
  }

  async #writeAll(chunk: Uint8Array): Promise<void> {
    for (let done = 0; done < chunk.length; )
      done += (await this.#handle.write(chunk, done, chunk.length - done)).bytesWritten;
  }
}

/** Renames an unclaimed partial file, or one whose writer is dead, to `path`. Does nothing if there is none. */
async function takeOver(folder: string, hex: string, path: string): Promise<void> {
  if (await renamed(join(folder, hex), path)) return;
  for (const name of await readdir(folder)) {
    const writer = name.startsWith(`${hex}.`) ? name.slice(hex.length + 1) : '';
    if (!/^[^-]+-\d+-[^-]+$/.test(writer) || (await isAlive(writer, join(folder, name)))) continue;
    if (await renamed(join(folder, name), path)) return;
  }
}

async function renamed(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    throw error;
  }
}
