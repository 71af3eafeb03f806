/**
 * The images that containers are created from: pulled, listed and removed as CRI requires, each unpacked once into a read-only
 * disk that all sandboxes share.
 *
 * An image is identified by the digest of its config: the same image from two registries, or with two compressions, is one
 * image with several names. A pull always asks the registry, because a tag may have moved and a login may have expired, and
 * fetches and unpacks only what is new. Concurrent pulls of the same image with the same login share the work.
 *
 * Blobs are fetched into kina's store and stay there while an image here was made from them, so that the next version fetches
 * only the layers that changed. They are removed with the last image that has them, unless the store needs them.
 * (`kina cache prune` may remove them earlier: nothing here reads them again.)
 *
 * An image is removed at once, its disk with the last container that uses it: the shared folders of a machine do not keep a
 * removed file alive as Linux does.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { KinaError } from '../../host/errors.ts';
import { Transport, type TransportOptions } from '../../host/http.ts';
import { digestOf } from '../../host/json.ts';
import { writeDiskElsewhere } from '../../layers/image/disk-process.ts';
import { fetchImage } from '../../layers/image/remote.ts';
import type { Digest, ImageConfig } from '../../oci/descriptor.ts';
import type { Platform } from '../../oci/platform.ts';
import { canonicalReference } from '../../oci/reference.ts';
import { type ImageArtifacts, resolveImage } from '../../oci/registry/resolve.ts';
import { prune } from '../../oci/store/prune.ts';
import type { Store } from '../../oci/store/store.ts';
import { type PullCredentials, pullLogins } from './credentials.ts';
import { defaultUser, digestName, findId, isDigestName } from './names.ts';
import { type ImageRecord, ImageRecords } from './records.ts';
import { SingleFlight } from './single-flight.ts';

export type { PullCredentials } from './credentials.ts';

export interface CriImage {
  /** Digest of the config: CRI's image id and image reference. */
  readonly id: Digest;
  readonly repoTags: string[];
  readonly repoDigests: string[];
  /** Bytes that removing it frees. */
  readonly size: number;
  /** At most one of the two; neither is root. */
  readonly user: { readonly uid?: number; readonly username?: string };
  /** Always false: the sandbox image is not in this library. */
  readonly pinned: boolean;
}
/** An image that a container can be created from. */
export interface ReadyImage {
  readonly image: CriImage;
  readonly config: ImageConfig;
  /** Absolute path on this machine of a read-only ext4 file system with all files of the image. */
  readonly disk: string;
  /** Texts of /etc/passwd and /etc/group in the image; empty when there is none. */
  readonly passwd: string;
  readonly group: string;
}
export interface LibraryOptions {
  /** Absolute; the library owns its folder `images`. One process at a time uses it. */
  readonly root: string;
  readonly store: Store;
  readonly platform: Platform;
  /** How registries are reached: mirrors, plain-HTTP hosts, the logins of this machine's files. */
  readonly network: TransportOptions;
}
/** A finished disk that no image has yet. */
interface Unpacked {
  readonly record: ImageRecord;
  readonly disk: string;
}

export class ImageLibrary {
  /** Absolute folder of everything that images need. */
  readonly mountpoint: string;
  /** Absolute folder of the disks only, which sandboxes may see. */
  readonly disks: string;
  readonly #options: LibraryOptions;
  readonly #records: ImageRecords;
  readonly #transport: Transport;
  readonly #pulls = new SingleFlight<Digest>();
  readonly #unpacking = new SingleFlight<Unpacked>();
  /** Containers per image. */
  readonly #users = new Map<Digest, number>();
  /** Images that are being pulled: their blobs stay. */
  readonly #underway = new Set<ImageArtifacts>();
  /** Changes of the library, one after the other. */
  #changing: Promise<unknown> = Promise.resolve();

  private constructor(options: LibraryOptions, records: ImageRecords) {
    this.#options = options;
    this.#records = records;
    this.#transport = new Transport(options.network);
    this.mountpoint = records.folder;
    this.disks = join(records.folder, 'disks');
  }

  /** Loads the images of an earlier process. Throws `store` when the folder cannot be used. */
  static async open(options: LibraryOptions): Promise<ImageLibrary> {
    return new ImageLibrary(options, await ImageRecords.open(join(options.root, 'images')));
  }

  /**
   * Resolves with the image's id when it is listed and ready. Throws `usage` for an invalid name, `not-found`, `network`,
   * `platform`, `integrity`, `archive`, `disk-full`, and `interrupted` as soon as the signal is aborted.
   */
  async pull(reference: string, credentials?: PullCredentials, signal?: AbortSignal): Promise<Digest> {
    const name = canonicalReference(reference);
    const login = digestOf(credentials ?? null);
    return this.#pulls.run(`${name} ${login}`, signal, (stop) => this.#pull(name, credentials, login, stop));
  }

  async #pull(
    name: string,
    credentials: PullCredentials | undefined,
    login: Digest,
    signal: AbortSignal,
  ): Promise<Digest> {
    const { network, platform } = this.#options;
    const findLogin = pullLogins(name, credentials, network);
    // Other requests must not use the connections and tokens of this request's login.
    const transport = findLogin === network.findLogin ? this.#transport : new Transport({ ...network, findLogin });
    const remote = await resolveImage(name, platform, transport, { signal });
    const id = remote.config.digest;
    const names = [...new Set([name, digestName(name, remote.digest)])];
    for (;;) {
      const known = this.#records.get(id);
      const made = known
        ? undefined
        : await this.#unpacking.run(`${id} ${login}`, signal, (stop) => this.#unpack(remote, transport, stop));
      // Another request may have added the image already, or removed it again.
      const done = await this.#change(async () => {
        if (made && this.#records.get(id)) await rm(made.disk, { force: true });
        else if (made && !(await this.#records.add(made.record, made.disk))) return false;
        if (!this.#records.get(id)) return false;
        await this.#records.name(id, names);
        return true;
      });
      if (done) return id;
    }
  }

  async #unpack(remote: ImageArtifacts, transport: Transport, signal: AbortSignal): Promise<Unpacked> {
    const { store } = this.#options;
    const disk = this.#records.temporaryDisk();
    this.#underway.add(remote);
    try {
      const image = await fetchImage(remote, { store, transport, signal });
      const { size, inodes, texts } = await writeDiskElsewhere(store, image, disk, {
        texts: ['etc/passwd', 'etc/group'],
        signal,
      });
      const record: ImageRecord = {
        id: remote.config.digest,
        config: image.config,
        passwd: texts.get('etc/passwd') ?? '',
        group: texts.get('etc/group') ?? '',
        size,
        inodes,
        blobs: blobsOf(remote),
      };
      return { record, disk };
    } catch (error) {
      await rm(disk, { force: true });
      throw signal.aborted ? new KinaError('interrupted', 'interrupted', { cause: error }) : error;
    } finally {
      this.#underway.delete(remote);
    }
  }

  /** The image with this name, id or prefix of an id; undefined when there is none. */
  async status(reference: string): Promise<CriImage | undefined> {
    const id = this.#find(reference);
    return id && this.#describe(id);
  }

  /** All images, sorted by id; with `filter` only that one. */
  async list(filter?: string): Promise<CriImage[]> {
    if (filter !== undefined) return [await this.status(filter)].filter((one) => one !== undefined);
    return this.#ids()
      .sort()
      .map((id) => this.#describe(id));
  }

  /** A name of the image for people, with a tag when there is one. */
  nameOf(id: string): string | undefined {
    const names = this.#records.namesOf(id as Digest);
    return names.find((name) => !isDigestName(name)) ?? names[0];
  }

  /** Removes the image with all its names. Removing a missing image succeeds. */
  async remove(reference: string): Promise<void> {
    await this.#change(async () => {
      const id = this.#find(reference);
      if (id === undefined) return;
      await this.#records.unname(id);
      await this.#dropUnused(id);
    });
  }

  /** For a container. Throws `not-found`. */
  async open(reference: string): Promise<ReadyImage> {
    const id = this.#find(reference);
    const record = id && this.#records.get(id);
    if (!record) throw new KinaError('not-found', `image not found: ${reference}`, { hint: 'Pull it first.' });
    const { config, passwd, group } = record;
    return { image: this.#describe(record.id), config, disk: this.#records.diskOf(record.id), passwd, group };
  }

  /** A container uses the image from now on: its disk stays when the image is removed. */
  retain(id: string): void {
    this.#users.set(id as Digest, (this.#users.get(id as Digest) ?? 0) + 1);
  }

  /** Undoes one `retain`. */
  async release(id: string): Promise<void> {
    const left = (this.#users.get(id as Digest) ?? 0) - 1;
    if (left > 0) this.#users.set(id as Digest, left);
    else this.#users.delete(id as Digest);
    await this.#change(() => this.#dropUnused(id as Digest));
  }

  /** Removes the disks of removed images. Call it once, after every existing container has retained its image. */
  async sweep(): Promise<void> {
    for (const { id } of this.#records.all()) await this.#change(() => this.#dropUnused(id));
  }

  /** Disk usage of all images, in bytes and files. */
  fsInfo(): { mountpoint: string; usedBytes: number; inodesUsed: number } {
    const records = this.#records.all();
    const blobs = new Map(records.flatMap(({ blobs: own }) => own.map(({ digest, size }) => [digest, size] as const)));
    const sum = (sizes: Iterable<number>): number => [...sizes].reduce((total, size) => total + size, 0);
    return {
      mountpoint: this.mountpoint,
      usedBytes: sum(records.map(({ size }) => size)) + sum(blobs.values()),
      inodesUsed: 2 * records.length + blobs.size,
    };
  }

  #ids(): Digest[] {
    return [...new Set(this.#records.names.values())];
  }

  #find(reference: string): Digest | undefined {
    return findId(reference, this.#records.names, this.#ids());
  }

  #describe(id: Digest): CriImage {
    const { size, config } = this.#records.get(id) as ImageRecord;
    const names = this.#records.namesOf(id);
    return {
      id,
      repoTags: names.filter((name) => !isDigestName(name)),
      repoDigests: names.filter(isDigestName),
      size,
      user: defaultUser(config.config?.User),
      pinned: false,
    };
  }

  /** Without name and user: removes the disk, and the blobs that no other image here was made from. */
  async #dropUnused(id: Digest): Promise<void> {
    const record = this.#records.get(id);
    if (!record || this.#users.has(id) || this.#records.namesOf(id).length) return;
    await this.#records.delete(id);
    const others = [...this.#records.all().map(({ blobs }) => blobs), ...[...this.#underway].map(blobsOf)].flat();
    const needed = new Set(others.map(({ digest }) => digest));
    const only = new Set(record.blobs.map(({ digest }) => digest).filter((digest) => !needed.has(digest)));
    await prune(this.#options.store, { all: true, only }).catch((error) => {
      // The image is removed all the same; `kina cache prune` reports a damaged store.
      if (!(error instanceof KinaError)) throw error;
    });
  }

  #change<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#changing.then(work);
    this.#changing = result.catch(() => {});
    return result;
  }
}

function blobsOf({ manifest, config, layers }: ImageArtifacts): ImageRecord['blobs'] {
  const all = [manifest, config, ...layers].map(({ digest, size }) => [digest, size] as const);
  return [...new Map(all)].map(([digest, size]) => ({ digest, size }));
}
