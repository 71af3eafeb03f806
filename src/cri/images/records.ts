/**
 * The files of the image service, in a folder that only it uses:
 *
 *     disks/HEX.ext4     the root file system of an image, read-only; sandboxes see this folder
 *     records/HEX.json   the record of that image; written after its disk
 *     names.json         every name and its image id; an image exists when it has a name
 *     tmp/               disks being written, named after the process that writes them
 *
 * HEX is the image id: the digest of the config, which describes the disk because every layer was compared with it. Each file
 * appears whole; names are written last and removed first. So `open` finds whole images and unnamed leftovers, whenever a
 * process died. Leftovers in tmp/ are removed at once. Images without a name may still be mounted by containers that outlived
 * the process; `sweep` removes them when the images in use are known.
 */
import { chmod, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { isErrno, KinaError } from '../../host/errors.ts';
import { atomicWrite, explainDiskFull } from '../../host/files.ts';
import { canonicalJson } from '../../host/json.ts';
import { type Digest, hexOf, type ImageConfig, isDigest, parseConfig } from '../../oci/descriptor.ts';
import { isAlive, temporaryName } from '../../oci/store/leases.ts';

/** The facts about an image that never change. */
export interface ImageRecord {
  readonly id: Digest;
  readonly config: ImageConfig;
  /** Texts of the image's files; empty when there is none. */
  readonly passwd: string;
  readonly group: string;
  /** Bytes of the disk. */
  readonly size: number;
  /** Files and folders on the disk. */
  readonly inodes: number;
  /** Of manifest, config and layers as they were fetched; sizes in bytes. */
  readonly blobs: readonly { readonly digest: Digest; readonly size: number }[];
}

const digest = z.custom<Digest>((value) => typeof value === 'string' && isDigest(value));
const recordForm = z.object({
  id: digest,
  config: z.unknown(),
  passwd: z.string(),
  group: z.string(),
  size: z.number(),
  inodes: z.number(),
  blobs: z.array(z.object({ digest, size: z.number() })),
});
const namesForm = z.record(z.string(), digest);

export class ImageRecords {
  /** Absolute path. */
  readonly folder: string;
  readonly #records = new Map<Digest, ImageRecord>();
  #names = new Map<string, Digest>();

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** Throws `store` when the folder cannot be used. One process has it open at a time. */
  static async open(folder: string): Promise<ImageRecords> {
    const records = new ImageRecords(resolve(folder));
    try {
      for (const name of ['disks', 'records', 'tmp'])
        await mkdir(join(records.folder, name), { recursive: true, mode: 0o700 });
      await records.#clear();
      await records.#load();
    } catch (error) {
      if (error instanceof KinaError || !isErrno(error, 'EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST')) throw error;
      throw new KinaError('store', `cannot use the image folder ${folder}: ${(error as Error).message}`, {
        hint: 'Make the folder writable, or choose a different one.',
        cause: error,
      });
    }
    return records;
  }

  diskOf(id: Digest): string {
    return join(this.folder, 'disks', `${hexOf(id)}.ext4`);
  }

  /** Where a new disk may be made. */
  temporaryDisk(): string {
    return join(this.folder, 'tmp', temporaryName());
  }

  get(id: Digest): ImageRecord | undefined {
    return this.#records.get(id);
  }

  /** Of all images, also those without a name. */
  all(): ImageRecord[] {
    return [...this.#records.values()];
  }

  get names(): ReadonlyMap<string, Digest> {
    return this.#names;
  }

  /** Sorted. */
  namesOf(id: Digest): string[] {
    return [...this.#names]
      .filter(([, other]) => other === id)
      .map(([name]) => name)
      .sort();
  }

  /** Adds an image and moves its finished disk. False when the disk has disappeared. */
  async add(record: ImageRecord, disk: string): Promise<boolean> {
    try {
      await chmod(disk, 0o444);
      await rename(disk, this.diskOf(record.id));
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return false;
      throw error;
    }
    await syncFolder(join(this.folder, 'disks'));
    await atomicWrite(this.#recordPath(record.id), canonicalJson(record), 0o600);
    this.#records.set(record.id, record);
    return true;
  }

  /** Gives an image names. Images that had them lose them. */
  async name(id: Digest, names: readonly string[]): Promise<void> {
    if (names.every((name) => this.#names.get(name) === id)) return;
    await this.#saveNames([...this.#names, ...names.map((name) => [name, id] as const)]);
  }

  /** Removes all names of an image. */
  async unname(id: Digest): Promise<void> {
    await this.#saveNames([...this.#names].filter(([, other]) => other !== id));
  }

  /** Removes a nameless image. */
  async delete(id: Digest): Promise<void> {
    this.#records.delete(id);
    await rm(this.#recordPath(id), { force: true });
    await rm(this.diskOf(id), { force: true });
  }

  #recordPath(id: Digest): string {
    return join(this.folder, 'records', `${hexOf(id)}.json`);
  }

  async #saveNames(names: readonly (readonly [string, Digest])[]): Promise<void> {
    const next = new Map(names);
    await atomicWrite(join(this.folder, 'names.json'), canonicalJson(Object.fromEntries(next)), 0o600).catch((error) =>
      explainDiskFull(error, this.folder),
    );
    this.#names = next;
  }

  /** Removes what dead processes were writing. */
  async #clear(): Promise<void> {
    const temporary = join(this.folder, 'tmp');
    for (const name of await readdir(temporary))
      if (!(await isAlive(name, join(temporary, name)))) await rm(join(temporary, name), { force: true });
    for (const folder of [this.folder, join(this.folder, 'records')])
      for (const name of await readdir(folder))
        if (name.endsWith('.tmp')) await rm(join(folder, name), { force: true });
  }

  /** Loads records that have their disks. Anything else is removed, and names of missing images too. */
  async #load(): Promise<void> {
    for (const name of await readdir(join(this.folder, 'records'))) {
      const record = await readRecord(join(this.folder, 'records', name));
      const disk = record && (await stat(this.diskOf(record.id)).catch(() => undefined));
      if (record && disk?.size === record.size) this.#records.set(record.id, record);
      else await rm(join(this.folder, 'records', name), { force: true });
    }
    for (const name of await readdir(join(this.folder, 'disks'))) {
      const id = `sha256:${name.replace(/\.ext4$/, '')}`;
      if (!isDigest(id) || !this.#records.has(id)) await rm(join(this.folder, 'disks', name), { force: true });
    }
    const saved = namesForm.safeParse(await readJson(join(this.folder, 'names.json')));
    const known = Object.entries(saved.data ?? {}).filter(([, id]) => this.#records.has(id));
    this.#names = new Map(known);
  }
}

async function readRecord(path: string): Promise<ImageRecord | undefined> {
  const parsed = recordForm.safeParse(await readJson(path));
  if (!parsed.success) return undefined;
  try {
    return { ...parsed.data, config: parseConfig(Buffer.from(JSON.stringify(parsed.data.config)), path) };
  } catch (error) {
    if (error instanceof KinaError) return undefined;
    throw error;
  }
}

async function readJson(path: string): Promise<unknown> {
  return readFile(path, 'utf8')
    .then(JSON.parse)
    .catch(() => undefined);
}

/** A rename is on the disk only after its folder is synced. Some file systems cannot sync folders. */
async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  await handle.sync().catch(() => {});
  await handle.close();
}
