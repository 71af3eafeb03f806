/**
 * Unfinished downloads, kept so that the next attempt, in this process or a later one, goes on where this one stopped.
 *
 * Below the store's `partial/`, by the digest of what is being fetched:
 *
 *     HEX                    bytes that no process is writing to
 *     HEX.HOST-PID-RANDOM    the same, while a process writes to it
 *     HEX.validator          which version of which URL they are: {"url", "validator"}
 *
 * Taking a partial is a rename, so exactly one process gets it and another one that wants the same file starts its own:
 * two downloads at worst, never two writers. What a killed process left is taken over once that process is gone. The
 * validator may be lost or out of step without harm: the finished file is hashed, it only saves wasted transfers.
 */
import { type FileHandle, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../host/errors.ts';
import { atomicWrite, explainDiskFull } from '../host/files.ts';
import { StreamHash } from '../oci/hash.ts';
import { isAlive, temporaryName } from '../oci/store/leases.ts';
import type { Digest } from './artifact.ts';

export class PartialFile {
  /** Bytes received so far. */
  size = 0;
  /** True when these bytes came from more than one transfer, or from an earlier process. */
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

  /** Takes over what is there, or begins anew. The caller ends it with `finish` or `release`. */
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

  /** What to send as If-Range when continuing with this URL; undefined when nothing is known. */
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
      const writing = this.#writeAll(chunk); // the disk works while the processor hashes
      this.#hash.update(chunk);
      await writing;
      this.size += chunk.length;
    } catch (error) {
      explainDiskFull(error, this.#path);
    }
  }

  /** Throws everything received away. */
  async reset(): Promise<void> {
    await this.#handle.truncate(0);
    this.#hash = new StreamHash();
    this.size = 0;
    this.resumed = false;
  }

  /** The digest of all bytes. Once, when nothing more will be appended. */
  digest(): Digest {
    return this.#hash.result().digest;
  }

  /** Closes the file and hands it over: the path now belongs to the caller. */
  async finish(): Promise<string> {
    await this.#handle.close();
    await rm(this.#validatorPath, { force: true });
    return this.#path;
  }

  /** Leaves the bytes for a later attempt; nothing is kept if there are none. */
  async release(): Promise<void> {
    await this.#handle.close();
    const other = await stat(this.#rest).catch(() => undefined);
    if (this.size > (other?.size ?? 0)) await rename(this.#path, this.#rest);
    else await rm(this.#path, { force: true });
    if (!this.size && !other) await rm(this.#validatorPath, { force: true });
  }

  /** Bytes of an earlier attempt must be hashed too. */
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

/** Renames the resting partial, or one whose writer is dead, to `path`. Does nothing if there is none. */
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
