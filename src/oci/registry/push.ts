/**
 * Registries as sinks: they get what they lack of an image.
 *
 * Blobs go first, in parallel, then manifests, inner ones first, then the tags, each in one request that changes everything or
 * nothing. What a registry has is asked each time and never remembered, because it may have lost it. Only the repository that
 * a blob can be mounted from is remembered: a mistake there costs one request.
 */
import pLimit from 'p-limit';
import { KinaError } from '../../host/errors.ts';
import type { Transport } from '../../host/http.ts';
import { digestOf } from '../../host/json.ts';
import type { Reporter } from '../../host/progress.ts';
import type { Descriptor, Digest } from '../descriptor.ts';
import { type Document, type ImageParts, partsOf } from '../image/contents.ts';
import type { Image } from '../image/image.ts';
import type { ImageReference } from '../reference.ts';
import type { Store } from '../store/store.ts';
import { type BlobToPush, Repository } from './upload.ts';

export interface PushRequest {
  readonly image: Image;
  /** With tags, in any number of registries and repositories; without a tag, by digest only. */
  readonly references: readonly ImageReference[];
  readonly transport: Transport;
  readonly reporter: Reporter;
  /** Remembers which repository has which blob, for mounting. */
  readonly store: Store;
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

/** Parallel uploads. More only share the bandwidth; registries that hash on arrival gain from a few. */
const concurrency = 6;

/** Throws `network`, `not-found`, `integrity`, `interrupted`, `archive` for an image with unknown parts. */
export async function pushImage(request: PushRequest): Promise<PushResult> {
  return new Push(request).finish();
}

/**
 * A push that begins before the image is complete: blobs are uploaded while others are compressed. `failed` rejects as soon as
 * an upload fails. A caller that gives up for another reason calls `abandon`.
 */
export class Push {
  readonly failed: Promise<never>;
  readonly #request: PushRequest;
  readonly #result: PushResult = { uploaded: 0, mounted: 0, existing: 0, bytes: 0, manifests: 0 };
  /** One after the other: the blobs of the first one are mounted into the others. */
  readonly #repositories: readonly RepositoryPush[];

  constructor(request: PushRequest) {
    this.#request = request;
    const repositories = new Map<string, ImageReference[]>();
    for (const reference of request.references) {
      const key = `${reference.registry}/${reference.repository}`;
      repositories.set(key, [...(repositories.get(key) ?? []), reference]);
    }
    this.#repositories = [...repositories.values()].map((names) => new RepositoryPush(names, request, this.#result));
    this.failed = this.#repositories[0]?.failed ?? new Promise<never>(() => {});
  }

  /** Uploads a blob that can be read already. */
  early(blob: Descriptor): void {
    this.#repositories[0]?.start([blob]);
  }

  /** Uploads the rest, and the tags. `root` is the finished image, when it was not known before. Throws what `pushImage` throws. */
  async finish(root = this.#request.image.root): Promise<PushResult> {
    const parts = await partsOf({ ...this.#request.image, root });
    for (const repository of this.#repositories) await repository.finish(parts);
    return this.#result;
  }

  async abandon(): Promise<void> {
    for (const repository of this.#repositories) await repository.stop();
  }
}

class RepositoryPush {
  readonly failed: Promise<never>;
  readonly #references: readonly ImageReference[];
  readonly #request: PushRequest;
  readonly #result: PushResult;
  readonly #repository: Repository;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #limit = pLimit(concurrency);
  readonly #work = new Map<Digest, Promise<void>>();
  readonly #fail: (error: unknown) => void;

  constructor(references: readonly ImageReference[], request: PushRequest, result: PushResult) {
    const { signal } = this.#stop;
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => {}); // handled by the readers of `failed`
    this.failed = promise;
    this.#fail = reject;
    this.#references = references;
    this.#request = request;
    this.#result = result;
    this.#signal = request.signal ? AbortSignal.any([request.signal, signal]) : signal;
    this.#repository = new Repository(this.#first, request.transport, this.#signal);
  }

  get #first(): ImageReference {
    return this.#references[0] as ImageReference;
  }

  /** Large blobs first: a large one that starts last delays everything. */
  start(blobs: readonly Descriptor[]): void {
    for (const blob of [...blobs].sort((a, b) => b.size - a.size)) {
      if (this.#work.has(blob.digest)) continue;
      const work = this.#limit(async () => {
        if (!this.#signal.aborted) await pushBlob(blob, this.#first, this.#repository, this.#request, this.#result);
      });
      work.catch(this.#fail);
      this.#work.set(blob.digest, work);
    }
  }

  async finish({ documents, parts }: ImageParts): Promise<void> {
    this.start(parts);
    try {
      await Promise.all(this.#work.values());
    } catch (error) {
      await this.stop();
      throw this.#request.signal?.aborted ? this.#request.signal.reason : error;
    }
    for (const document of documents) await this.#put(document.digest, document);
    const top = documents.at(-1) as Document;
    for (const { tag } of this.#references) if (tag !== undefined) await this.#put(tag, top);
  }

  async stop(): Promise<void> {
    this.#stop.abort(new KinaError('interrupted', 'another blob failed'));
    await Promise.allSettled(this.#work.values());
  }

  async #put(name: string, { bytes, digest, mediaType }: Document): Promise<void> {
    if ((await this.#repository.manifestDigest(name, mediaType)) === digest) return;
    await this.#repository.putManifest(name, bytes, digest, mediaType);
    this.#result.manifests++;
  }
}

async function pushBlob(
  { digest, size }: Descriptor,
  to: ImageReference,
  repository: Repository,
  { image, store, reporter }: PushRequest,
  result: PushResult,
): Promise<void> {
  const key = digestOf({ registry: to.registry, digest });
  if (await repository.hasBlob(digest)) {
    result.existing++;
    return store.putRecord('registry-blobs', key, { repository: to.repository });
  }
  const remembered = await store.getRecord<{ repository?: unknown }>('registry-blobs', key);
  const neighbours = [
    ...(image.origin?.registry === to.registry ? [image.origin.repository] : []),
    ...(typeof remembered?.repository === 'string' ? [remembered.repository] : []),
  ].filter((name, i, all) => name !== to.repository && all.indexOf(name) === i);
  const task = reporter.task('push', `${to.repository} ${digest.slice(7, 19)}`);
  const blob: BlobToPush = {
    digest,
    size,
    open: () => image.blob({ digest, size }),
    part: (start, end) => image.blob({ digest, size }, { start, end }),
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
