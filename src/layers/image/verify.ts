/**
 * Hashes everything that an image is made of again: index, manifests, configs, layers, and the uncompressed form of compressed
 * layers. The store's time stamps and the media types are not trusted. All damage is reported, not only the first.
 *
 * A damaged blob is not removed; it gets the current time. The store hashes every blob with an unexpected time, so the next
 * build finds the damage and fetches or builds the blob again.
 */
import { utimes } from 'node:fs/promises';
import { decompressFile } from '../../host/compression/decompress.ts';
import { isErrno, KinaError } from '../../host/errors.ts';
import type { Task } from '../../host/progress.ts';
import {
  type Descriptor,
  type Digest,
  type ImageConfig,
  type ImageManifest,
  isIndexType,
  isManifestType,
  parseConfig,
  parseIndex,
  parseManifest,
} from '../../oci/descriptor.ts';
import { hashStream } from '../../oci/hash.ts';
import { imageLayers } from '../../oci/image/history.ts';
import { platformName } from '../../oci/platform.ts';
import type { Store } from '../../oci/store/store.ts';

export interface Damage {
  /** For example `index`, `manifest of linux/arm64`, `layer base of linux/arm64`. */
  readonly what: string;
  readonly digest: Digest;
  readonly problem: string;
}
export interface Verification {
  /** Blobs hashed, each once. */
  readonly blobs: number;
  /** Bytes hashed: of blobs, and of uncompressed layers. */
  readonly bytes: number;
  readonly damage: readonly Damage[];
}

/** Hashes the image of `descriptor`. Reports damage; throws only when the disk cannot be read. */
export async function verifyImage(
  store: Store,
  descriptor: Descriptor,
  options: { readonly signal?: AbortSignal | undefined; readonly task?: Task } = {},
): Promise<Verification> {
  const verifier = new Verifier(store, options.signal, options.task);
  await verifier.image(descriptor, 'index');
  return { blobs: verifier.blobs.size, bytes: verifier.bytes, damage: verifier.damage };
}

class Verifier {
  readonly damage: Damage[] = [];
  /** True for those that match their digests. */
  readonly blobs = new Map<Digest, boolean>();
  bytes = 0;
  readonly #store: Store;
  readonly #signal: AbortSignal | undefined;
  readonly #task: Task | undefined;

  constructor(store: Store, signal: AbortSignal | undefined, task: Task | undefined) {
    this.#store = store;
    this.#signal = signal;
    this.#task = task;
  }

  async image(descriptor: Descriptor, what: string): Promise<void> {
    const { mediaType, digest } = descriptor;
    if (isManifestType(mediaType)) return this.#manifest(descriptor);
    if (!isIndexType(mediaType)) return this.#report(what, digest, `${mediaType} is not an image`);
    const index = await this.#document(descriptor, what, parseIndex);
    for (const entry of index?.manifests ?? []) await this.image(entry, `manifest ${entry.digest}`);
  }

  async #manifest(descriptor: Descriptor): Promise<void> {
    const of = descriptor.platform ? ` of ${platformName(descriptor.platform)}` : '';
    const manifest = await this.#document(descriptor, `manifest${of}`, parseManifest);
    if (!manifest) return;
    const config = await this.#document(manifest.config, `config${of}`, parseConfig);
    if (config) return this.#layers(manifest, config, of);
    for (const layer of manifest.layers) await this.#blob(layer, `layer${of}`);
  }

  async #layers(manifest: ImageManifest, config: ImageConfig, of: string): Promise<void> {
    const diffIds = config.rootfs.diff_ids ?? [];
    const layers = imageLayers({ manifest, config });
    if (diffIds.length !== layers.length)
      this.#report(
        `config${of}`,
        manifest.config.digest,
        `it lists ${diffIds.length} layers, the manifest has ${layers.length}`,
      );
    for (const { name, descriptor, diffId } of layers) {
      const what = `layer ${name}${of}`;
      if (!(await this.#blob(descriptor, what)) || diffId === descriptor.digest) continue;
      const problem = await this.#unpacked(descriptor, diffId);
      if (problem) this.#report(what, descriptor.digest, problem);
    }
  }

  /** Why a layer's blob does not unpack to its diffID; undefined when it does. */
  async #unpacked({ digest }: Descriptor, diffId: Digest): Promise<string | undefined> {
    try {
      const found = await hashStream(this.#counted(decompressFile(this.#store.blobPath(digest), { from: digest })));
      return found.digest === diffId ? undefined : `uncompressed digest mismatch: got ${found.digest}, want ${diffId}`;
    } catch (error) {
      if (error instanceof KinaError && error.code === 'archive') return error.message;
      throw error;
    }
  }

  async #document<T>(
    descriptor: Descriptor,
    what: string,
    parse: (bytes: Uint8Array, where: string) => T,
  ): Promise<T | undefined> {
    if (!(await this.#blob(descriptor, what))) return undefined;
    try {
      return parse(await this.#store.readBytes(descriptor.digest, descriptor.size), descriptor.digest);
    } catch (error) {
      if (!(error instanceof KinaError)) throw error;
      this.#report(what, descriptor.digest, [error.message, ...error.details].join('; '));
      return undefined;
    }
  }

  /** True when the blob exists and matches its digest. */
  async #blob({ digest, size }: Descriptor, what: string): Promise<boolean> {
    const known = this.blobs.get(digest);
    if (known !== undefined) return known;
    const problem = await this.#hashed(digest, size);
    if (problem) this.#report(what, digest, problem);
    this.blobs.set(digest, problem === undefined);
    return problem === undefined;
  }

  async #hashed(digest: Digest, size: number): Promise<string | undefined> {
    try {
      const found = await hashStream(this.#counted(this.#store.open(digest)));
      if (found.digest !== digest) {
        await utimes(this.#store.blobPath(digest), new Date(), new Date());
        return `digest mismatch: got ${found.digest} (${found.size} bytes), want ${digest} (${size} bytes)`;
      }
      return found.size === size ? undefined : `size mismatch: got ${found.size} bytes, want ${size}`;
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return 'missing';
      throw error;
    }
  }

  async *#counted(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      this.#signal?.throwIfAborted();
      this.bytes += chunk.length;
      this.#task?.progress(this.bytes);
      yield chunk;
    }
  }

  #report(what: string, digest: Digest, problem: string): void {
    this.damage.push({ what, digest, problem });
  }
}
