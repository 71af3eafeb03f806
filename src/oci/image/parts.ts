/**
 * What an image consists of, wherever it is: the walk from its top document that copies have in common. Configs are not
 * looked into (`contents.ts` does), so that what travels beside images, attestations for example, travels too.
 */
import { KinaError } from '../../host/errors.ts';
import {
  type Descriptor,
  type Digest,
  isIndexType,
  isManifestType,
  maxManifestBytes,
  parseIndex,
  parseManifest,
} from '../descriptor.ts';

/** Where the parts of an image are read; a store is one. Both throw for bytes that are not the digest's. */
export interface ImageSource {
  readBytes(digest: Digest, limit: number): Promise<Buffer>;
  verified(digest: Digest, size?: number): AsyncIterable<Uint8Array>;
  /** A part of what `verified` has given before, unchecked; both positions inclusive. */
  open?(digest: Digest, range: { start: number; end: number }): AsyncIterable<Uint8Array>;
}

/** An index or a manifest. */
export interface Document extends Descriptor {
  readonly bytes: Buffer;
}
export interface Parts {
  /** Inner ones first; the last is the image itself. */
  readonly documents: readonly Document[];
  readonly blobs: readonly Descriptor[];
}

/**
 * Everything that the image leads to, each part once. Reads documents only. Throws `archive` for what is neither an image
 * nor an index of images.
 */
export async function partsOf(source: ImageSource, root: Descriptor): Promise<Parts> {
  const documents = new Map<Digest, Document>();
  const blobs = new Map<Digest, Descriptor>();
  const walk = async (descriptor: Descriptor, depth: number): Promise<void> => {
    const { mediaType, digest } = descriptor;
    if (documents.has(digest)) return;
    if (depth > 3) throw new KinaError('archive', `${root.digest}: indexes are nested too deep`);
    const bytes = await source.readBytes(digest, maxManifestBytes);
    if (isIndexType(mediaType)) for (const inner of parseIndex(bytes, digest).manifests) await walk(inner, depth + 1);
    else if (isManifestType(mediaType)) {
      const { config, layers } = parseManifest(bytes, digest);
      for (const part of [config, ...layers]) if (!isForeign(part)) blobs.set(part.digest, part);
    } else
      throw new KinaError('archive', `${digest} is ${mediaType}, which is neither an image nor an index of images`);
    documents.set(digest, { ...descriptor, bytes });
  };
  await walk(root, 0);
  return { documents: [...documents.values()], blobs: [...blobs.values()] };
}

/** Windows layers that only their publisher may distribute (OCI image specification, "Non-Distributable Layers"). */
function isForeign({ mediaType }: Descriptor): boolean {
  return /\.(foreign|nondistributable)\./.test(mediaType);
}
