/**
 * Images of an archive or a layout folder, read where they lie: for whoever needs a part of an image once. Only what
 * cannot be read out of order, a compressed archive or a stream, goes into the store first.
 *
 * A blob whose digest is promised, by its name or by the image's config, is believed until it is read, and checked then;
 * everything else is hashed at once.
 */
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { KinaError } from '../../host/errors.ts';
import { sha256 } from '../../host/json.ts';
import { type Digest, mediaType } from '../descriptor.ts';
import { hashStream, StreamHash } from '../hash.ts';
import type { VerifiedBlobs } from '../output/tar.ts';
import { type Slice, scanTar } from '../output/tar-scan.ts';
import type { Store } from '../store/store.ts';
import { type Blobs, type ImportedImage, importArchive, inStore, layerType, readImages } from './import.ts';
import { type ArchiveFiles, promisedDigest, readArchive } from './import-source.ts';

/** Throws `integrity` or `store` for a damaged blob. */
export interface OpenImages extends VerifiedBlobs {
  /** One per platform and set of names. */
  readonly images: readonly ImportedImage[];
}

/**
 * `path` is an OCI layout folder, an OCI archive or a docker-archive, compressed or not. Throws `not-found`, `archive` or
 * `integrity` for what is not there, not an image archive, or not whole.
 */
export async function openImages(store: Store, path: string): Promise<OpenImages> {
  const found = await stat(path).catch(() => undefined);
  if (!found)
    throw new KinaError('not-found', `${path} does not exist`, {
      hint: 'Name an image archive or an OCI layout folder.',
    });
  const find = found.isDirectory() ? fileIn(path) : await scanTar(path);
  if (!find) return fromStore(store, await importArchive(store, path));
  const place = new Place(find);
  const images = await readImages(place, path, place);
  return { images, verified: (digest, size) => place.verified(digest, size) };
}

/** The same for an archive that comes as a stream; `origin` is what errors call it. Its blobs go into the store. */
export async function receiveImages(store: Store, archive: Readable, origin: string): Promise<OpenImages> {
  return fromStore(store, await readImages(inStore(store), origin, await readArchive(store, origin, archive)));
}

/** Images whose blobs are in the store. */
export function fromStore(store: Store, images: readonly ImportedImage[]): OpenImages {
  return { images, verified: (digest, size) => store.verified(digest, size) };
}

/** Names come from kina and from digests, never from the folder's documents. */
function fileIn(folder: string) {
  return async (name: string): Promise<Slice | undefined> => {
    const file = join(folder, name);
    const found = await stat(file).catch(() => undefined);
    return found?.isFile() ? { file, offset: 0, size: found.size } : undefined;
  };
}

class Place implements ArchiveFiles, Blobs {
  readonly #find: (name: string) => Slice | undefined | Promise<Slice | undefined>;
  readonly #names = new Map<string, Promise<Digest | undefined>>();
  /** Slices, and documents that kina made. */
  readonly #blobs = new Map<Digest, Slice | Buffer>();

  constructor(find: (name: string) => Slice | undefined | Promise<Slice | undefined>) {
    this.#find = find;
  }

  digestOf(name: string, claimed?: Digest): Promise<Digest | undefined> {
    const known = this.#names.get(name) ?? this.#look(name, claimed);
    this.#names.set(name, known);
    return known;
  }

  async #look(name: string, claimed: Digest | undefined): Promise<Digest | undefined> {
    const slice = await this.#find(name);
    if (!slice) return undefined;
    // A config claims digests of uncompressed layers.
    const believed = claimed && layerType((await headOf(slice)).magic) === mediaType.layer ? claimed : undefined;
    const digest = promisedDigest(name) ?? believed ?? (await hashStream(bytesOf(slice))).digest;
    this.#blobs.set(digest, slice);
    return digest;
  }

  async has(digest: Digest, size: number): Promise<boolean> {
    const blob = this.#blobs.get(digest);
    return (blob && 'file' in blob ? blob.size : blob?.length) === size;
  }

  async writeBytes(data: string) {
    const bytes = Buffer.from(data);
    const digest = sha256(bytes);
    this.#blobs.set(digest, bytes);
    return { digest, size: bytes.length };
  }

  async readBytes(digest: Digest, limit: number): Promise<Buffer> {
    const { size } = await this.head(digest);
    if (size > limit) throw new KinaError('archive', `${digest} has more than the ${limit} bytes allowed`);
    const parts: Uint8Array[] = [];
    for await (const chunk of this.verified(digest, size)) parts.push(chunk);
    return Buffer.concat(parts);
  }

  async head(digest: Digest): Promise<{ size: number; magic: Buffer }> {
    const blob = this.#blobs.get(digest)!;
    return 'file' in blob ? headOf(blob) : { size: blob.length, magic: blob.subarray(0, 4) };
  }

  async *verified(digest: Digest, size: number): AsyncGenerator<Uint8Array> {
    const blob = this.#blobs.get(digest)!;
    const hash = new StreamHash();
    for await (const chunk of 'file' in blob ? bytesOf(blob) : [blob]) {
      hash.update(chunk);
      yield chunk;
    }
    const actual = hash.result();
    if (actual.digest === digest && actual.size === size) return;
    throw new KinaError('integrity', 'a blob of the image is not what its name says', {
      details: [`expected ${digest}, ${size} bytes`, `found    ${actual.digest}, ${actual.size} bytes`],
      hint: 'The archive is damaged. Save or download it again.',
    });
  }
}

async function headOf({ file, offset, size }: Slice): Promise<{ size: number; magic: Buffer }> {
  const handle = await open(file, 'r');
  try {
    const magic = Buffer.alloc(4);
    await handle.read(magic, 0, Math.min(4, size), offset);
    return { size, magic };
  } finally {
    await handle.close();
  }
}

function bytesOf({ file, offset, size }: Slice): AsyncIterable<Buffer> {
  if (size === 0) return empty();
  return createReadStream(file, { start: offset, end: offset + size - 1, highWaterMark: 1 << 20 });
}

async function* empty(): AsyncGenerator<Buffer> {}
