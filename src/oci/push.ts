/**
 * An image to registries: everything that its top document leads to, what is missing there and nothing else.
 *
 * Blobs go first, side by side, then manifests from the inside out, then the tags, each in one request that changes
 * everything or nothing. What is there is asked for each time and never remembered: a registry may have lost it. Only
 * where a blob might be mounted from is remembered, because being wrong about that costs one request.
 */
import pLimit from 'p-limit';
import { KinaError } from '../host/errors.ts';
import type { Transport } from '../host/http.ts';
import { digestOf } from '../host/json.ts';
import type { Reporter } from '../host/progress.ts';
import type { Descriptor } from './descriptor.ts';
import { type Document, type ImageSource, type Parts, partsOf } from './parts.ts';
import type { ImageReference } from './registry-reference.ts';
import { type BlobToPush, Repository } from './registry-upload.ts';
import type { Store } from './store.ts';

export interface PushRequest {
  readonly source: ImageSource;
  /** Of an index or a manifest. */
  readonly root: Descriptor;
  /** With tags, in any number of registries and repositories; without a tag, by digest only. */
  readonly references: readonly ImageReference[];
  readonly transport: Transport;
  readonly reporter: Reporter;
  /** Remembers which repository got what, for mounting. */
  readonly store: Store;
  /** Where the image comes from, when that is a registry. */
  readonly origin?: ImageReference | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Numbers of blobs (manifests are not counted) over all repositories. */
export interface PushResult {
  uploaded: number;
  mounted: number;
  existing: number;
  /** Bytes of the blobs that were uploaded. */
  bytes: number;
  /** Manifests and tags that were written. */
  manifests: number;
}

/** Uploads at the same time. More only divides the line; registries that hash on arrival gain from a few. */
const concurrency = 6;

/** Throws `network`, `not-found`, `integrity`, `interrupted`, `archive` for an image of unknown parts. */
export async function pushImage(request: PushRequest): Promise<PushResult> {
  const parts = await partsOf(request.source, request.root);
  const result: PushResult = { uploaded: 0, mounted: 0, existing: 0, bytes: 0, manifests: 0 };
  const repositories = new Map<string, ImageReference[]>();
  for (const reference of request.references) {
    const key = `${reference.registry}/${reference.repository}`;
    repositories.set(key, [...(repositories.get(key) ?? []), reference]);
  }
  // One after the other: what the first one got is mounted into the others.
  for (const references of repositories.values()) await pushTo(references, parts, request, result);
  return result;
}

async function pushTo(
  references: readonly ImageReference[],
  { documents, blobs }: Parts,
  request: PushRequest,
  result: PushResult,
): Promise<void> {
  const [first] = references as [ImageReference];
  const stop = new AbortController();
  const signal = request.signal ? AbortSignal.any([request.signal, stop.signal]) : stop.signal;
  const repository = new Repository(first, request.transport, signal);
  const limit = pLimit(concurrency);
  // The big ones first: a big one that starts last is the one that everybody waits for.
  const ordered = [...blobs].sort((a, b) => b.size - a.size);
  const work = ordered.map((blob) =>
    limit(async () => {
      if (signal.aborted) return;
      await pushBlob(blob, first, repository, request, result);
    }),
  );
  try {
    await Promise.all(work);
  } catch (error) {
    stop.abort(new KinaError('interrupted', 'another blob failed'));
    await Promise.allSettled(work);
    throw request.signal?.aborted ? request.signal.reason : error;
  }
  const put = async (name: string, { bytes, digest, mediaType }: Document): Promise<void> => {
    if ((await repository.manifestDigest(name, mediaType)) === digest) return;
    await repository.putManifest(name, bytes, digest, mediaType);
    result.manifests++;
  };
  for (const document of documents) await put(document.digest, document);
  const top = documents.at(-1) as Document;
  for (const { tag } of references) if (tag !== undefined) await put(tag, top);
}

async function pushBlob(
  { digest, size }: Descriptor,
  to: ImageReference,
  repository: Repository,
  { source, store, origin, reporter }: PushRequest,
  result: PushResult,
): Promise<void> {
  const key = digestOf({ registry: to.registry, digest });
  if (await repository.hasBlob(digest)) {
    result.existing++;
    return store.putRecord('registry-blobs', key, { repository: to.repository });
  }
  const remembered = await store.getRecord<{ repository?: unknown }>('registry-blobs', key);
  const neighbours = [
    ...(origin?.registry === to.registry ? [origin.repository] : []),
    ...(typeof remembered?.repository === 'string' ? [remembered.repository] : []),
  ].filter((name, i, all) => name !== to.repository && all.indexOf(name) === i);
  const task = reporter.task('push', `${to.repository} ${digest.slice(7, 19)}`);
  const blob: BlobToPush = {
    digest,
    size,
    open: () => source.verified(digest, size),
    ...(source.open ? { part: (start: number, end: number) => source.open!(digest, { start, end }) } : {}),
    neighbours,
    progress: (done) => task.progress(done, size),
  };
  try {
    const how = await repository.pushBlob(blob);
    result[how]++;
    if (how === 'uploaded') result.bytes += size;
    task.done(undefined, how === 'mounted');
  } catch (error) {
    task.fail();
    throw error;
  }
  await store.putRecord('registry-blobs', key, { repository: to.repository });
}
