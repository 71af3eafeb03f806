/**
 * Fetches artifacts into the store: verified, and downloaded at most once.
 *
 * - An artifact in the store costs no request. Concurrent requests for the same bytes share one download.
 * - An interrupted transfer resumes (Range with If-Range); `partial.ts` keeps the received bytes, also after Ctrl-C and
 *   crashes. Retries are not limited while a transfer makes progress.
 * - Bytes are hashed and counted as they arrive. Nothing enters the store before size and digest match. A file that was
 *   assembled from several transfers and is wrong is downloaded once more as a whole; a file that came in one transfer
 *   and is wrong is not requested again.
 * - Alternative URLs of an artifact are tried only if a URL answers that it does not exist.
 */
import pLimit from 'p-limit';
import { KinaError } from '../host/errors.ts';
import type { HttpResponse, Transport } from '../host/http.ts';
import { isTransient, notFound, TransferError } from '../host/http-errors.ts';
import { redact } from '../host/http-route.ts';
import type { Reporter, Task } from '../host/progress.ts';
import { registryHeaders } from '../oci/registry/client.ts';
import type { Store } from '../oci/store/store.ts';
import type { Fetched, RemoteFile } from './artifact.ts';
import { PartialFile } from './partial.ts';

export interface FetcherOptions {
  readonly store: Store;
  /** Handles mirrors, retries and `--offline`. */
  readonly transport: Transport;
  readonly reporter: Reporter;
  readonly signal?: AbortSignal | undefined;
  /** Concurrent downloads. Default 8. */
  readonly concurrency?: number | undefined;
}

/** Less than this does not count as progress, so that a server cannot keep a transfer alive one byte at a time. */
const progressBytes = 64 << 10;
const resumableBytes = 1 << 20;

export class Fetcher {
  readonly #store: Store;
  readonly #transport: Transport;
  readonly #reporter: Reporter;
  readonly #signal: AbortSignal | undefined;
  readonly #limit: ReturnType<typeof pLimit>;
  readonly #running = new Map<string, Promise<void>>();

  constructor(options: FetcherOptions) {
    this.#store = options.store;
    this.#transport = options.transport;
    this.#reporter = options.reporter;
    this.#signal = options.signal;
    this.#limit = pLimit(options.concurrency ?? 8);
  }

  /**
   * Throws `not-found`, `network`, `offline`, `integrity` (wrong size or digest), `disk-full`, `interrupted`. Received
   * bytes that may be correct are kept for the next attempt.
   */
  fetch(artifact: RemoteFile): Promise<Fetched> {
    return this.#fetch(artifact, this.#signal);
  }

  /**
   * Fetches all artifacts and returns them in the same order. The first failure cancels the rest; without a network, one
   * `offline` error lists everything that is missing.
   */
  async fetchAll(artifacts: readonly RemoteFile[]): Promise<Fetched[]> {
    const stop = new AbortController();
    const signal = this.#signal ? AbortSignal.any([this.#signal, stop.signal]) : stop.signal;
    const offline: KinaError[] = [];
    let first: unknown;
    const one = async (artifact: RemoteFile): Promise<Fetched | undefined> => {
      try {
        return await this.#fetch(artifact, signal);
      } catch (error) {
        if (error instanceof KinaError && error.code === 'offline') offline.push(error);
        else if (!stop.signal.aborted) {
          first = error;
          stop.abort();
        }
        return undefined;
      }
    };
    // Largest first: a large file that starts last would delay the end.
    const bySize = [...artifacts.keys()].sort((a, b) => artifacts[b]!.size - artifacts[a]!.size);
    const results = new Array<Fetched | undefined>(artifacts.length);
    await Promise.all(bySize.map(async (i) => (results[i] = await one(artifacts[i]!))));
    if (first !== undefined) throw first;
    if (offline.length)
      throw mergedOffline(
        artifacts.filter((_, i) => !results[i]),
        offline[0]!,
      );
    return results as Fetched[];
  }

  async #fetch(artifact: RemoteFile, signal: AbortSignal | undefined): Promise<Fetched> {
    const key = `${artifact.digest} ${artifact.size}`;
    for (let running = this.#running.get(key); running; running = this.#running.get(key)) {
      try {
        await running;
      } catch (error) {
        // The other request was cancelled, this one was not.
        if (!(error instanceof KinaError && error.code === 'interrupted') || signal?.aborted) throw error;
      }
    }
    const work = this.#ensure(artifact, signal).finally(() => this.#running.delete(key));
    this.#running.set(key, work);
    await work;
    return { artifact, path: this.#store.blobPath(artifact.digest) };
  }

  async #ensure(artifact: RemoteFile, signal: AbortSignal | undefined): Promise<void> {
    if (await this.#store.has(artifact.digest, artifact.size)) return;
    if (artifact.type === 'local')
      throw new KinaError('not-found', `${artifact.name} is a local file that is no longer in the store`, {
        hint: 'Give its source again, without --locked.',
      });
    await this.#limit(async () => {
      if (signal?.aborted) throw new KinaError('interrupted', 'interrupted');
      const partial = await PartialFile.claim(await this.#store.folder('partial'), artifact.digest);
      await new Download(artifact, partial, this.#transport, this.#reporter, signal).run(this.#store);
    });
  }
}

/** The download of one artifact into the store. */
class Download {
  readonly #artifact: RemoteFile;
  readonly #partial: PartialFile;
  readonly #transport: Transport;
  readonly #reporter: Reporter;
  readonly #signal: AbortSignal | undefined;
  /** Created with the first response: a request that fails before is not a download. */
  #task: Task | undefined;

  constructor(
    artifact: RemoteFile,
    partial: PartialFile,
    transport: Transport,
    reporter: Reporter,
    signal: AbortSignal | undefined,
  ) {
    this.#artifact = artifact;
    this.#partial = partial;
    this.#transport = transport;
    this.#reporter = reporter;
    this.#signal = signal;
  }

  async run(store: Store): Promise<void> {
    const { digest, size } = this.#artifact;
    try {
      if (this.#partial.size > size) await this.#partial.reset();
      await this.#anyAddress();
    } catch (error) {
      if (error instanceof KinaError && error.code === 'integrity') await this.#partial.reset();
      await this.#partial.release();
      this.#task?.fail();
      throw error;
    }
    await store.adopt(await this.#partial.finish(), { digest, size }, true);
    this.#task?.done();
  }

  async #anyAddress(): Promise<void> {
    const urls = [this.#artifact.url, ...(this.#artifact.fallbacks ?? [])];
    for (const url of urls) {
      try {
        await this.#verified(url);
        return;
      } catch (error) {
        if (!(error instanceof KinaError && error.code === 'not-found')) throw error;
        if (urls.length === 1) throw error;
      }
    }
    throw notFound(this.#artifact.url, urls);
  }

  async #verified(url: string): Promise<void> {
    for (;;) {
      await this.#complete(url);
      const digest = this.#partial.digest();
      if (digest === this.#artifact.digest) return;
      if (!this.#partial.resumed) throw this.#wrong(url, [`got ${digest}, ${this.#partial.size} bytes`]);
      await this.#partial.reset();
    }
  }

  /** Transfers until all bytes have arrived. */
  async #complete(url: string): Promise<void> {
    let furthest = this.#partial.size;
    for (let failures = 0; this.#partial.size < this.#artifact.size; ) {
      try {
        await this.#transfer(url);
      } catch (error) {
        if (!isTransient(error)) throw error;
        if (this.#partial.size >= furthest + progressBytes) {
          furthest = this.#partial.size;
          failures = 0;
        }
        if (failures >= this.#transport.retries) throw error;
        await this.#transport.pause(failures++, error, this.#signal);
      }
    }
  }

  /** Sends one request and reads its body as far as it comes. */
  async #transfer(url: string): Promise<void> {
    const answer = await this.#transport.request(url, {
      headers: { ...registryHeaders(url), ...(await this.#continuation(url)) },
      signal: this.#signal,
      accept: [416],
    });
    const { size } = this.#artifact;
    this.#task ??= this.#reporter.task('fetch', taskTitle(this.#artifact));
    try {
      await this.#position(url, answer);
      for await (const chunk of answer.body as AsyncIterable<Buffer>) {
        if (this.#partial.size + chunk.length > size) throw this.#wrong(url, [`got more than ${size} bytes`]);
        await this.#partial.append(chunk);
        this.#task.progress(this.#partial.size, size);
      }
    } finally {
      answer.body.destroy();
    }
    if (this.#partial.size < size)
      throw new TransferError(`${redact(url)}: the response ended after ${this.#partial.size} of ${size} bytes`, {
        transient: true,
        hint: 'Try again; received bytes are kept.',
      });
  }

  async #continuation(url: string): Promise<Record<string, string>> {
    if (!this.#partial.size) return {};
    const validator = await this.#partial.validator(url);
    return { range: `bytes=${this.#partial.size}-`, ...(validator ? { 'if-range': validator } : {}) };
  }

  /** Moves the partial file to the start of the response's body; throws if the result cannot be correct. */
  async #position(url: string, answer: HttpResponse): Promise<void> {
    const { size } = this.#artifact;
    const range = /^bytes\s+(?:(\d+)-\d+|\*)\/(\d+|\*)$/.exec(answer.headers['content-range'] ?? '');
    const total = answer.status === 200 ? answer.headers['content-length'] : range?.[2];
    if (total !== undefined && total !== '*' && Number(total) !== size)
      throw this.#wrong(url, [`the server (${answer.address}) has ${total} bytes`]);
    if (answer.status === 206 && Number(range?.[1]) === this.#partial.size) {
      this.#partial.resumed = true;
      return;
    }
    await this.#partial.reset();
    if (answer.status !== 200)
      throw new TransferError(
        `${redact(url)}: the server answered ${answer.status} to a request for the rest of the file`,
        {
          transient: true,
        },
      );
    // For a small file, repeating a transfer costs less than saving this safely.
    if (size >= resumableBytes) await this.#partial.setValidator(url, strongValidator(answer));
  }

  #wrong(url: string, found: readonly string[]): KinaError {
    const { digest, size, verifiedBy } = this.#artifact;
    return new KinaError('integrity', `${title(this.#artifact)} from ${redact(url)} has the wrong size or digest`, {
      details: [`want ${digest}, ${size} bytes (by ${verifiedBy})`, ...found],
      hint: 'The file was damaged or replaced on the server or in transit. Try again, or use a different mirror. If upstream changed the file, run `kina lock` and review the difference.',
    });
  }
}

function title(artifact: RemoteFile): string {
  return artifact.version ? `${artifact.name} ${artifact.version}` : artifact.name;
}

/** With the architecture, if the URL has it: an image of two platforms fetches most things twice. */
function taskTitle(artifact: RemoteFile): string {
  const architecture = /(?<![a-z0-9])(amd64|arm64)(?![a-z0-9])/.exec(artifact.url)?.[1];
  return architecture === undefined ? title(artifact) : `${title(artifact)} (${architecture})`;
}

/** If-Range needs a strong validator (RFC 9110, 13.1.5), so no `W/"…"`; without an ETag, a date is used. */
function strongValidator(answer: HttpResponse): string | undefined {
  const { etag } = answer.headers;
  if (etag) return etag.startsWith('W/') ? undefined : etag;
  return answer.headers['last-modified'];
}

function mergedOffline(missing: readonly RemoteFile[], first: KinaError): KinaError {
  if (missing.length === 1) return first;
  return new KinaError(
    'offline',
    `${missing.length} artifacts are not in the store, and --offline forbids network access`,
    {
      details: missing.map((artifact) => `${title(artifact)}: ${redact(artifact.url)}`),
      hint: 'Run the command once without --offline.',
    },
  );
}
