/**
 * The images that containers are made from: pulled, listed and removed as CRI wants it, each unpacked once into one
 * read-only disk that all sandboxes share.
 *
 * An image is its config's digest: the same image from two registries, or compressed in two ways, is one image with
 * several names. A pull asks the registry every time, because a tag may have moved and a login may have ended, and
 * fetches and unpacks only what is new. Whoever pulls the same with the same login at the same time shares the work.
 *
 * Blobs pass through kina's store and stay there as long as an image here was made from them, so that the next version
 * fetches the layers that changed; they go with the last image that had them, unless the store has another use for them.
 * (`kina cache prune` may take them earlier: nothing here needs them again.)
 *
 * An image is removed at once, its disk when the last container that was made from it is gone: a machine's shared
 * folders do not keep a removed file alive as Linux does.
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
  /** Digest of the config: what CRI calls image id and image reference, everywhere. */
  readonly id: Digest;
  readonly repoTags: string[];
  readonly repoDigests: string[];
  /** Bytes that go when it is removed. */
  readonly size: number;
  /** At most one of the two; neither is root. */
  readonly user: { readonly uid?: number; readonly username?: string };
  /** Never: sandboxes are made from an image that is not among these. */
  readonly pinned: boolean;
}
/** An image that a container can be made from. */
export interface ReadyImage {
  readonly image: CriImage;
  readonly config: ImageConfig;
  /** Absolute path on this machine of an ext4 file system, read-only, with everything that is in the image. */
  readonly disk: string;
  /** Texts of /etc/passwd and /etc/group in the image; empty when there is none. */
  readonly passwd: string;
  readonly group: string;
}
export interface LibraryOptions {
  /** Absolute; its `images` belongs to the library. One process at a time has it. */
  readonly root: string;
  readonly store: Store;
  readonly platform: Platform;
  /** How registries are reached: mirrors, plain-HTTP hosts, the logins of this machine's files. */
  readonly network: TransportOptions;
}
/** A disk that is finished but not yet anybody's. */
interface Unpacked {
  readonly record: ImageRecord;
  readonly disk: string;
}

export class ImageLibrary {
  /** Absolute folder of everything that images take. */
  readonly mountpoint: string;
  /** Absolute folder of the disks alone: what sandboxes may see. */
  readonly disks: string;
  readonly #options: LibraryOptions;
  readonly #records: ImageRecords;
  readonly #transport: Transport;
  readonly #pulls = new SingleFlight<Digest>();
  readonly #unpacking = new SingleFlight<Unpacked>();
  /** Containers per image. */
  readonly #users = new Map<Digest, number>();
  /** Images that pulls are at: their blobs stay. */
  readonly #underway = new Set<ImageArtifacts>();
  /** Changes of what there is, one after the other. */
  #changing: Promise<unknown> = Promise.resolve();

  private constructor(options: LibraryOptions, records: ImageRecords) {
    this.#options = options;
    this.#records = records;
    this.#transport = new Transport(options.network);
    this.mountpoint = records.folder;
    this.disks = join(records.folder, 'disks');
  }

  /** Finds what an earlier process left. Throws `store` when the folder cannot be used. */
  static async open(options: LibraryOptions): Promise<ImageLibrary> {
    return new ImageLibrary(options, await ImageRecords.open(join(options.root, 'images')));
  }

  /**
   * Resolves with the image's id when it is listed and ready. Throws `usage` for what is no name, `not-found`, `network`,
   * `platform`, `integrity`, `archive`, `disk-full`, and `interrupted` as soon as the signal says so.
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
    // A login of this request is this request's: connections and tokens that know it are not used by others.
    const transport = findLogin === network.findLogin ? this.#transport : new Transport({ ...network, findLogin });
    const remote = await resolveImage(name, platform, transport, { signal });
    const id = remote.config.digest;
    const names = [...new Set([name, digestName(name, remote.digest)])];
    for (;;) {
      const known = this.#records.get(id);
      const made = known
        ? undefined
        : await this.#unpacking.run(`${id} ${login}`, signal, (stop) => this.#unpack(remote, transport, stop));
      // Somebody may have been quicker to bring the image, or to remove it again.
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

  /** The image that is meant by a name, an id or the beginning of one; undefined when there is none. */
  async status(reference: string): Promise<CriImage | undefined> {
    const id = this.#find(reference);
    return id && this.#describe(id);
  }

  /** All images, sorted by id; with `filter` the one that it means. */
  async list(filter?: string): Promise<CriImage[]> {
    if (filter !== undefined) return [await this.status(filter)].filter((one) => one !== undefined);
    return this.#ids()
      .sort()
      .map((id) => this.#describe(id));
  }

  /** A name of the image for people, a tag if it has one. */
  nameOf(id: string): string | undefined {
    const names = this.#records.namesOf(id as Digest);
    return names.find((name) => !isDigestName(name)) ?? names[0];
  }

  /** Removes the image with all its names; when there is none nothing happens. */
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
    if (!record) throw new KinaError('not-found', `there is no image ${reference}`, { hint: 'Pull it first.' });
    const { config, passwd, group } = record;
    return { image: this.#describe(record.id), config, disk: this.#records.diskOf(record.id), passwd, group };
  }

  /** A container uses the image from now on: its disk stays, also when the image is removed. */
  retain(id: string): void {
    this.#users.set(id as Digest, (this.#users.get(id as Digest) ?? 0) + 1);
  }

  /** Takes one `retain` back. */
  async release(id: string): Promise<void> {
    const left = (this.#users.get(id as Digest) ?? 0) - 1;
    if (left > 0) this.#users.set(id as Digest, left);
    else this.#users.delete(id as Digest);
    await this.#change(() => this.#dropUnused(id as Digest));
  }

  /** Once, when all containers that were there before have said which images they use: removed images' disks go. */
  async sweep(): Promise<void> {
    for (const { id } of this.#records.all()) await this.#change(() => this.#dropUnused(id));
  }

  /** What all images take together, in bytes and files of this machine's disk. */
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

  /** When it has neither name nor user: the disk, and the blobs that no other image here was made from. */
  async #dropUnused(id: Digest): Promise<void> {
    const record = this.#records.get(id);
    if (!record || this.#users.has(id) || this.#records.namesOf(id).length) return;
    await this.#records.delete(id);
    const others = [...this.#records.all().map(({ blobs }) => blobs), ...[...this.#underway].map(blobsOf)].flat();
    const needed = new Set(others.map(({ digest }) => digest));
    const only = new Set(record.blobs.map(({ digest }) => digest).filter((digest) => !needed.has(digest)));
    await prune(this.#options.store, { all: true, only }).catch((error) => {
      // The image is gone all the same; a damaged store is told to whoever prunes it.
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
