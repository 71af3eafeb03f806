/**
 * An image in a registry (OCI distribution specification, "Pull"; Docker's schema 2 as well).
 *
 * The chain of trust is in the bytes: a digest in the reference, or else what the registry answers for the tag now, names
 * the index, which names the manifest, which names config and layers. Each document is hashed before it is parsed.
 */
import { KinaError } from '../../host/errors.ts';
import type { Transport } from '../../host/http.ts';
import { redact } from '../../host/http-route.ts';
import { sha256 } from '../../host/json.ts';
import { type Descriptor, type Digest, isIndexType, isManifestType, maxConfigBytes } from '../descriptor.ts';
import { digestMismatch, verified } from '../hash.ts';
import type { BlobRef, Image, Part } from '../image/image.ts';
import { formatReference, type ImageReference, repositoryUrl } from '../reference.ts';
import type { Store } from '../store/store.ts';
import { changedHint, readManifest, resolveReference } from './client.ts';
import { referrersOf } from './referrers.ts';

/** One blob of a remote image, as an artifact: fetching, resuming, mirrors and locks treat it like any other. */
export interface RemoteBlob {
  readonly name: string;
  /** Canonical; by digest, so that it always means the same bytes. */
  readonly url: string;
  /** Bytes. */
  readonly size: number;
  readonly digest: Digest;
  readonly verifiedBy: string;
}

export interface RegistryAccess {
  readonly transport: Transport;
  readonly signal?: AbortSignal | undefined;
  /**
   * Where everything that is read is kept, and looked for first; the fetcher downloads into this store. Without it, blobs
   * are streams that cannot be resumed, and have no ranges.
   */
  readonly keep?: { readonly store: Store; readonly fetcher: BlobFetcher } | undefined;
}
export interface BlobFetcher {
  fetchAll(blobs: readonly RemoteBlob[]): Promise<unknown>;
}
export type RegistryImage = Image & { readonly origin: ImageReference };

/** Throws `usage` for a malformed reference, `not-found`, `network`, `integrity`; `archive` for what is not an image. */
export async function registryImage(ref: string, { transport, signal, keep }: RegistryAccess): Promise<RegistryImage> {
  const { reference, descriptor: root, bytes } = await resolveReference(ref, transport, signal);
  await keep?.store.writeBytes(bytes, { digest: root.digest });
  const { tag } = reference;
  const remote = (blob: Part) => remoteBlob(reference, blob);
  const document = async (descriptor: Descriptor): Promise<Buffer> => {
    if (descriptor.digest === root.digest) return bytes;
    if (!isDocument(descriptor)) return config(descriptor);
    if (keep && (await keep.store.has(descriptor.digest)))
      return keep.store.readBytes(descriptor.digest, maxConfigBytes);
    const read = await readManifest(reference, descriptor.digest, transport, signal);
    await keep?.store.writeBytes(read, { digest: descriptor.digest });
    return read;
  };
  const config = async (descriptor: BlobRef): Promise<Buffer> => {
    const { url } = remote(descriptor);
    if (descriptor.size > maxConfigBytes)
      throw new KinaError(
        'archive',
        `${redact(url)} has ${descriptor.size} bytes, more than the ${maxConfigBytes} allowed`,
      );
    if (keep) {
      await keep.fetcher.fetchAll([remote({ ...descriptor, what: 'config' })]);
      return keep.store.readBytes(descriptor.digest, maxConfigBytes);
    }
    const read = await transport.bytes(url, { limit: maxConfigBytes, signal });
    if (sha256(read) !== descriptor.digest)
      throw digestMismatch(redact(url), descriptor, { digest: sha256(read), size: read.length }, changedHint);
    return read;
  };
  return {
    root,
    names: tag === undefined ? [] : [formatReference({ ...reference, digest: undefined })],
    title: formatReference(reference),
    origin: reference,
    document,
    async *blob(blob, range) {
      if (keep) {
        if (!range) await keep.fetcher.fetchAll([remote(blob)]);
        yield* range ? keep.store.open(blob.digest, range) : keep.store.verified(blob.digest, blob.size);
        return;
      }
      const { url } = remote(blob);
      if (range) throw new KinaError('internal', `${redact(url)}: ranges are read from a store`);
      yield* verified((await transport.request(url, { signal })).body, blob, redact(url));
    },
    async prepare(blobs) {
      await keep?.fetcher.fetchAll(blobs.map(remote));
    },
    referrers: (subject) => referrersOf(reference, subject, transport, signal),
  };
}

/** What errors and progress call it: `busybox:1.35 layer 1/2`. */
export function remoteBlob(reference: ImageReference, { digest, size, what }: Part): RemoteBlob {
  return {
    name: `${shortName(reference)} ${what ?? digest.slice(7, 19)}`,
    url: `${repositoryUrl(reference)}/blobs/${digest}`,
    size,
    digest,
    verifiedBy: 'registry manifest',
  };
}

/** `busybox:1.35` */
export function shortName({ repository, tag }: ImageReference): string {
  return `${repository.slice(repository.lastIndexOf('/') + 1)}${tag ? `:${tag}` : ''}`;
}

function isDocument({ mediaType }: Descriptor): boolean {
  return isIndexType(mediaType) || isManifestType(mediaType);
}
