/**
 * The files of an archive or a layout folder, as blobs. They are read where they are.
 *
 * A digest that a file's name or the image's config gives is believed until the file is read, and verified then. Any other
 * file is hashed when it is asked for.
 */
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { compressionOf } from '../../host/compression/decompress.ts';
import { KinaError } from '../../host/errors.ts';
import { sha256 } from '../../host/json.ts';
import { type Descriptor, type Digest, isDigest, maxDocumentBytes, maxManifestBytes } from '../descriptor.ts';
import { digestMismatch, hashStream, verified } from '../hash.ts';
import type { BlobRef, ByteRange, Image, Part } from '../image/image.ts';
import { blobName } from '../output/archive.ts';

/** A run of bytes of a file. */
export interface Slice {
  readonly file: string;
  readonly offset: number;
  readonly size: number;
}
/** Names come from kina, from digests and from the archive's own documents; they are keys, never paths of this machine. */
export type FindFile = (name: string) => Slice | undefined | Promise<Slice | undefined>;

const damagedHint = 'The archive is damaged. Save or download it again.';
const incompleteHint =
  'The archive is incomplete: it was cut short, or exported without its blobs. Save or download it again.';

export class ArchiveFiles {
  /** What errors call the archive. */
  readonly title: string;
  readonly #find: FindFile;
  /** Files that are not named by their digests, and documents that kina made. */
  readonly #blobs = new Map<Digest, Slice | Buffer>();

  constructor(find: FindFile, title: string) {
    this.#find = find;
    this.title = title;
  }

  /** A file by its name, at most 4 MiB; undefined when the archive does not have it. */
  async read(name: string): Promise<Buffer | undefined> {
    const slice = await this.#find(name);
    if (!slice) return undefined;
    if (slice.size > maxManifestBytes) throw new KinaError('archive', `${this.title}: ${name} is too large`);
    return collect(bytesOf(slice));
  }

  /**
   * The digest of a file, and its size in bytes; undefined when the archive does not have it. `claimed` is the digest of its
   * uncompressed form, by the image's config.
   */
  async identify(name: string, claimed?: Digest): Promise<BlobRef | undefined> {
    const slice = await this.#find(name);
    if (!slice) return undefined;
    const isPlain = claimed && (await this.compression(slice)) === 'none';
    const digest = promisedDigest(name) ?? (isPlain ? claimed : (await hashStream(bytesOf(slice))).digest);
    this.#blobs.set(digest, slice);
    return { digest, size: slice.size };
  }

  /** Throws `archive` for a compression that kina cannot read. */
  async compression(blob: Digest | Slice) {
    const slice = typeof blob === 'string' ? await this.#locate(blob) : blob;
    if (!slice || !('file' in slice)) return 'none';
    return compressionOf(slice.file, slice.offset, slice.size, this.title);
  }

  /** Adds a document that the archive does not have. */
  add(data: string): BlobRef {
    const bytes = Buffer.from(data);
    const digest = sha256(bytes);
    this.#blobs.set(digest, bytes);
    return { digest, size: bytes.length };
  }

  /** An image of these files. `referrers`: manifests in the same place, by their subjects. */
  image(
    { mediaType, digest, size }: Descriptor,
    names: readonly string[],
    referrers: ReadonlyMap<Digest, readonly Descriptor[]> = new Map(),
  ): Image {
    return {
      root: { mediaType, digest, size },
      names: [...new Set(names)],
      title: this.title,
      document: (descriptor) => this.document(descriptor),
      blob: (blob, range) => this.#blob(blob, range),
      prepare: (blobs) => this.#prepare(blobs),
      referrers: async (subject) => referrers.get(subject) ?? [],
    };
  }

  async has(digest: Digest): Promise<boolean> {
    return (await this.#locate(digest)) !== undefined;
  }

  async document(descriptor: Descriptor): Promise<Buffer> {
    const limit = maxDocumentBytes(descriptor.mediaType);
    if (descriptor.size > limit)
      throw new KinaError(
        'archive',
        `${this.title}: ${descriptor.digest} has ${descriptor.size} bytes, more than the ${limit} allowed`,
      );
    return collect(this.#blob(descriptor));
  }

  async *#blob(blob: Part, range?: ByteRange): AsyncGenerator<Uint8Array> {
    const found = await this.#require(blob);
    if (!range) return yield* verified(bytesOf(found), blob, this.#nameOf(blob), damagedHint);
    const { start, end } = range;
    yield* bytesOf(
      'file' in found
        ? { file: found.file, offset: found.offset + start, size: end - start + 1 }
        : found.subarray(start, end + 1),
    );
  }

  /** Throws `archive` for a blob that is missing, `integrity` for one of another size. */
  async #prepare(blobs: readonly Part[]): Promise<void> {
    for (const blob of blobs) await this.#require(blob);
  }

  async #require(blob: Part): Promise<Slice | Buffer> {
    const found = await this.#locate(blob.digest);
    if (!found) throw new KinaError('archive', `${this.#nameOf(blob)} is not in the archive`, { hint: incompleteHint });
    const size = 'file' in found ? found.size : found.length;
    if (size !== blob.size) throw digestMismatch(this.#nameOf(blob), { size: blob.size }, { size }, damagedHint);
    return found;
  }

  async #locate(digest: Digest): Promise<Slice | Buffer | undefined> {
    return this.#blobs.get(digest) ?? this.#find(blobName(digest));
  }

  #nameOf({ digest, what = 'blob' }: Part): string {
    return `${this.title}: ${what} (${digest})`;
  }
}

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const chunk of source) parts.push(chunk);
  return Buffer.concat(parts);
}

/** The bytes of a slice. */
export function bytesOf(found: Slice | Buffer): AsyncIterable<Uint8Array> {
  if (!('file' in found)) return Readable.from([found]);
  const { file, offset, size } = found;
  if (size === 0) return Readable.from([]);
  return createReadStream(file, { start: offset, end: offset + size - 1, highWaterMark: 1 << 20 });
}

/** The digest that a blob's name promises. */
export function promisedDigest(name: string): Digest | undefined {
  const digest = `sha256:${/^blobs\/sha256\/([0-9a-f]{64})$/.exec(name)?.[1]}`;
  return isDigest(digest) ? digest : undefined;
}
