/**
 * Verified bytes: artifacts come in, files in the store come out, downloaded at most once.
 *
 * - An artifact that the store has costs no request. Two requests for the same bytes share one download.
 * - A transfer that breaks off goes on where it stopped (Range with If-Range); `partial.ts` keeps what was received, also
 *   over Ctrl-C and crashes. As long as a bad line makes progress, patience does not run out.
 * - Bytes are hashed as they arrive and counted against the promised size. Nothing enters the store before both agree.
 *   A file that was put together from several transfers and is wrong is fetched once more as a whole; a file that came
 *   in one piece and is wrong will not get better by asking again.
 * - Other addresses of an artifact are tried when, and only when, an address definitely does not have it.
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
  /** Decides about mirrors, retries, and whether there is a network at all. */
  readonly transport: Transport;
  readonly reporter: Reporter;
  readonly signal?: AbortSignal | undefined;
  /** Downloads at the same time. Default 8. */
  readonly concurrency?: number | undefined;
}

/** Less than this counts as no progress, so that a server cannot keep us busy a byte at a time. */
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
   * Throws `not-found`, `network`, `offline`, `integrity` (size or digest differ), `disk-full`, `interrupted`. After any
   * of them, what was received and may be right is kept for the next attempt.
   */
  fetch(artifact: RemoteFile): Promise<Fetched> {
    return this.#fetch(artifact, this.#signal);
  }

  /**
   * All of them, in the order given. The first failure stops the rest; without a network everything that is missing
   * is listed in one `offline` error.
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
    // Large files first: a large file that starts last delays everything.
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
        // The other one was cancelled, this one was not.
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
      throw new KinaError(
        'not-found',
        `${artifact.name} came from a file of this machine and is no longer in the store`,
        {
          hint: 'Name its source again, without --locked.',
        },
      );
    await this.#limit(async () => {
      if (signal?.aborted) throw new KinaError('interrupted', 'interrupted');
      const partial = await PartialFile.claim(await this.#store.folder('partial'), artifact.digest);
      await new Download(artifact, partial, this.#transport, this.#reporter, signal).run(this.#store);
    });
  }
}

/** One artifact on its way into the store. */
class Download {
  readonly #artifact: RemoteFile;
  readonly #partial: PartialFile;
  readonly #transport: Transport;
  readonly #reporter: Reporter;
  readonly #signal: AbortSignal | undefined;
  /** Reported from the first answer on: what fails before was never a download. */
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
      if (!this.#partial.resumed) throw this.#wrong(url, [`received ${digest}, ${this.#partial.size} bytes`]);
      await this.#partial.reset();
    }
  }

  /** Transfers until the promised number of bytes is there. */
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

  /** One request and as much of its body as comes. */
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
        if (this.#partial.size + chunk.length > size) throw this.#wrong(url, [`received more than ${size} bytes`]);
        await this.#partial.append(chunk);
        this.#task.progress(this.#partial.size, size);
      }
    } finally {
      answer.body.destroy();
    }
    if (this.#partial.size < size)
      throw new TransferError(`${redact(url)}: the answer ended after ${this.#partial.size} of ${size} bytes`, {
        transient: true,
        hint: 'Try again; what was received is kept.',
      });
  }

  async #continuation(url: string): Promise<Record<string, string>> {
    if (!this.#partial.size) return {};
    const validator = await this.#partial.validator(url);
    return { range: `bytes=${this.#partial.size}-`, ...(validator ? { 'if-range': validator } : {}) };
  }

  /** Makes the partial stand where the answer's body begins; throws when it can never become what was promised. */
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
    // For a small file a wasted transfer costs less than writing this down safely.
    if (size >= resumableBytes) await this.#partial.setValidator(url, strongValidator(answer));
  }

  #wrong(url: string, found: readonly string[]): KinaError {
    const { digest, size, verifiedBy } = this.#artifact;
    return new KinaError('integrity', `${title(this.#artifact)} from ${redact(url)} is not what was promised`, {
      details: [`expected ${digest}, ${size} bytes (by ${verifiedBy})`, ...found],
      hint: 'The file was damaged or replaced on the server or on the way. Try again or use another mirror; if upstream really changed it, run `kina lock` and review the difference.',
    });
  }
}

function title(artifact: RemoteFile): string {
  return artifact.version ? `${artifact.name} ${artifact.version}` : artifact.name;
}

/** With the architecture, where the address tells: an image of two platforms fetches most things twice. */
function taskTitle(artifact: RemoteFile): string {
  const architecture = /(?<![a-z0-9])(amd64|arm64)(?![a-z0-9])/.exec(artifact.url)?.[1];
  return architecture === undefined ? title(artifact) : `${title(artifact)} (${architecture})`;
}

/** If-Range takes strong validators only (RFC 9110, 13.1.5): no `W/"…"`; a date serves when there is no ETag. */
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
