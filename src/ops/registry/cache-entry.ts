/**
 * An entry of a cache in a registry: an OCI artifact, tagged with the key of the work that it contains. Its config is a record
 * that repeats the key and describes the blobs.
 *
 * The key is in the tag, in an annotation and in the record; the manifest has the digests of the record and the blobs. An entry
 * that was moved to a different key, or has a different blob, does not pass the checks.
 */
import type { z } from 'zod';
import { KinaError } from '../../host/errors.ts';
import type { Transport } from '../../host/http.ts';
import { canonicalJson } from '../../host/json.ts';
import { type Descriptor, maxConfigBytes, mediaType, parseManifest } from '../../oci/descriptor.ts';
import { formatReference, type ImageReference, repositoryUrl } from '../../oci/reference.ts';
import { resolveReference } from '../../oci/registry/client.ts';
import { pushImage } from '../../oci/registry/push.ts';
import { Repository } from '../../oci/registry/upload.ts';
import { storeImage } from '../../oci/store/image.ts';
import type { Session } from '../../session/session.ts';

const recordType = 'application/vnd.kina.cache.record.v1+json';
const keyAnnotation = 'dev.kina.cache.key';

/** An entry and its kind. */
export interface CacheEntry {
  readonly repository: ImageReference;
  /** Of the artifact: `application/vnd.kina.cache.…`. */
  readonly type: string;
  readonly tag: string;
  readonly key: string;
}

/** The error for an entry that does not pass the checks. */
export function refused({ tag }: CacheEntry, problem: string): KinaError {
  return new KinaError('integrity', `its entry ${tag} is refused: ${problem}`);
}

/**
 * The record and the blobs of an entry, the record in the store, the blobs not yet. Throws `not-found`, `network`,
 * `integrity`, `archive`.
 */
export async function readEntry<T extends { key: string }>(
  entry: CacheEntry,
  schema: z.ZodType<T>,
  tools: Session,
): Promise<{ record: T; blobs: readonly Descriptor[] }> {
  const where = formatReference({ ...entry.repository, tag: entry.tag });
  const top = await resolveReference(where, tools.transport, tools.signal);
  const { annotations, config, layers, artifactType } = parseManifest(top.bytes, where);
  if (annotations?.[keyAnnotation] !== entry.key) throw refused(entry, 'it is for another key');
  if (artifactType !== entry.type || config.size > maxConfigBytes)
    throw refused(entry, 'it is not an entry of this kind');
  await fetchBlobs(entry, [config], tools);
  const parsed = schema.safeParse(parseJson(await tools.store.readBytes(config.digest, maxConfigBytes)));
  if (!parsed.success || parsed.data.key !== entry.key) throw refused(entry, 'its record is for something else');
  return { record: parsed.data, blobs: layers };
}

/** Fetches blobs of an entry into the store, each verified against its digest and size. */
export async function fetchBlobs(
  { repository }: CacheEntry,
  blobs: readonly Descriptor[],
  { fetcher }: Session,
): Promise<void> {
  await fetcher.fetchAll(
    blobs.map(({ digest, size }) => ({
      name: `cached ${digest.slice(7, 19)}`,
      url: `${repositoryUrl(repository)}/blobs/${digest}`,
      size,
      digest,
      verifiedBy: 'the cache',
    })),
  );
}

/** `blobs` are in the store. Blobs that the repository has are not uploaded. */
export async function writeEntry(
  entry: CacheEntry,
  record: { readonly key: string },
  blobs: readonly Descriptor[],
  { store, reporter, signal }: Session,
  writing: Transport,
): Promise<void> {
  const config = { mediaType: recordType, ...(await store.writeBytes(canonicalJson(record))) };
  const document = {
    schemaVersion: 2,
    mediaType: mediaType.manifest,
    artifactType: entry.type,
    config,
    layers: blobs.map(({ mediaType: type, digest, size }) => ({ mediaType: type, digest, size })),
    annotations: { [keyAnnotation]: entry.key },
  };
  const root = { mediaType: mediaType.manifest, ...(await store.writeBytes(canonicalJson(document))) };
  const references = [{ ...entry.repository, tag: entry.tag }];
  await pushImage({ image: storeImage(store, root), references, transport: writing, reporter, store, signal });
}

/** Whether the repository has the entry's tag. */
export async function hasEntry(
  { repository, tag }: CacheEntry,
  { signal }: Session,
  writing: Transport,
): Promise<boolean> {
  return (await new Repository(repository, writing, signal).manifestDigest(tag, mediaType.manifest)) !== undefined;
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}
