/**
 * An image, wherever it is: in the store (`store/image.ts`), a registry (`registry/image.ts`), a layout folder or an
 * archive (`archive/open.ts`; engines save archives). A new place is one more file that returns an `Image`.
 *
 * `contents.ts` walks over an image and says what it is made of. Sinks take an `Image` and send what they lack: the store
 * (`store/keep.ts`), layouts and archives (`output/output.ts`), registries (`registry/push.ts`), the nodes of a cluster.
 *
 * Digests are the only identity. Nothing is read before it is asked for, and what is read is verified.
 */
import type { Descriptor, Digest } from '../descriptor.ts';
import type { ImageReference } from '../reference.ts';

export interface Image {
  /** Of the index or manifest at the top. */
  readonly root: Descriptor;
  /** Names that the place gives it: full references, or bare tags in layouts. Empty for an image without a name. */
  readonly names: readonly string[];
  /** What errors call it: a reference, a path. */
  readonly title: string;
  /** The repository that it is read from; registries mount blobs from there. */
  readonly origin?: ImageReference;
  /**
   * An index, a manifest or a config. Throws `integrity` when the bytes do not match the digest; `not-found`, `archive` or
   * `store` when the place does not have it.
   */
  document(descriptor: Descriptor): Promise<Buffer>;
  /**
   * The bytes of a blob. A mismatch with the digest or the size is thrown after the last chunk. A range is not verified:
   * it repeats a part of what was read before, or the reader verifies it.
   */
  blob(blob: BlobRef, range?: ByteRange): AsyncIterable<Uint8Array>;
  /**
   * Makes sure that these blobs can be read: fetches them side by side, or checks that they are there. Throws what `blob`
   * throws for one that is missing.
   */
  prepare(blobs: readonly Part[]): Promise<void>;
  /** Manifests that the place lists with this subject. These are claims until they are read. */
  referrers(subject: Digest): Promise<readonly Descriptor[]>;
}

export type BlobRef = Pick<Descriptor, 'digest' | 'size'>;

/** Byte positions, both inclusive, as in Node.js streams. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** A config or a layer. */
export interface Part extends BlobRef {
  /** For people: `config`, `layer 2 of linux/arm64`. */
  readonly what?: string | undefined;
}
