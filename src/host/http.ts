/**
 * HTTP for everything that kina reads from outside: mirrors, retries, limits and words about failures, in one place.
 *
 * - URLs are canonical; `http-route.ts` says which addresses stand for them. "Not found" is only said when every one of
 *   them answered 404 or 410: a mirror that is down must not look like a file that does not exist.
 * - Lost connections, timeouts, 408, 429 and 5xx are retried with exponential backoff and jitter, or when the server's
 *   `Retry-After` says; other refusals and cancellations never are. A body that breaks off is the business of who reads
 *   it: `read` starts again, `artifacts/fetch.ts` resumes.
 * - `offline` refuses here, so nothing can slip past it. `file:` URLs still work: they are no network.
 * - Redirects, proxies and logins: `http-send.ts`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { KinaError } from './errors.ts';
import { explainFailure, interrupted, isTransient, notFound, offlineError, TransferError } from './http-errors.ts';
import type { FindLogin } from './http-login.ts';
import { originOf, type RouteOptions, Routes, redact } from './http-route.ts';
import { Connections, type HttpResponse, type RequestOptions, type Timeouts } from './http-send.ts';

export type { HttpResponse, RequestOptions } from './http-send.ts';

export interface TransportOptions extends RouteOptions {
  /** Refuse everything but `file:` URLs with an `offline` error. */
  readonly offline?: boolean | undefined;
  readonly userAgent?: string | undefined;
  /** How often a failed request is tried again. Default 4. */
  readonly retries?: number | undefined;
  /** Milliseconds before the first retry; doubles each time. Default 500. */
  readonly retryDelay?: number | undefined;
  readonly timeouts?: Timeouts | undefined;
  /** Who we are to servers that ask. Nobody when absent. */
  readonly findLogin?: FindLogin | undefined;
  /** Cancels everything that this transport does. */
  readonly signal?: AbortSignal | undefined;
}
export interface TriedOptions extends RequestOptions {
  /** Instead of the transport's own number: 0 where the caller knows better how to go on. */
  readonly retries?: number | undefined;
}
export interface ReadOptions extends TriedOptions {
  /** Most bytes to take. Default 1 MiB. */
  readonly limit?: number | undefined;
}
export interface ReadResponse extends Omit<HttpResponse, 'body'> {
  readonly bytes: Buffer;
}
export interface Head {
  /** Bytes, when the server tells. */
  readonly size: number | undefined;
  readonly etag: string | undefined;
}

/** A server that asks for more patience than this is treated as down. */
const maxRetryAfter = 120_000;
const maxDelay = 30_000;

export class Transport {
  readonly retries: number;
  readonly #retryDelay: number;
  readonly #routes: Routes;
  readonly #offline: boolean;
  readonly #signal: AbortSignal | undefined;
  readonly #connections: Connections;
  /** Origins that failed last time: among several mirrors they are asked last. */
  readonly #troubled = new Set<string>();

  /** Throws `usage` when a mirror or a proxy of the environment is no URL. */
  constructor(options: TransportOptions = {}) {
    this.retries = options.retries ?? 4;
    this.#retryDelay = options.retryDelay ?? 500;
    this.#routes = new Routes(options);
    this.#offline = options.offline ?? false;
    this.#signal = options.signal;
    this.#connections = new Connections({
      userAgent: options.userAgent ?? 'kina',
      timeouts: options.timeouts ?? {},
      readRealm: async (realm, address, request) => {
        // A mirror that passes upstream's challenge on also stands for the token server; its own realm is asked as it is.
        const addresses = originOf(realm) === originOf(address) ? [realm] : this.#routes.addresses(realm);
        return (await this.#read(realm, addresses, { ...request, anonymous: true, limit: 64 << 10 })).bytes;
      },
      findLogin: options.findLogin,
    });
  }

  /**
   * Sends a request; resolves when the answer begins. Throws `not-found`, `offline`, `network`, `interrupted`, and
   * `usage` for what is no URL.
   */
  request(url: string, options: TriedOptions = {}): Promise<HttpResponse> {
    return this.#try(url, this.#routes.addresses(url), options, async (response) => response);
  }

  /** The whole answer in memory, tried again from the start when it breaks off. Throws `network` above the limit. */
  read(url: string, options: ReadOptions = {}): Promise<ReadResponse> {
    return this.#read(url, this.#routes.addresses(url), options);
  }

  async bytes(url: string, options: ReadOptions = {}): Promise<Buffer> {
    return (await this.read(url, options)).bytes;
  }

  async text(url: string, options: ReadOptions = {}): Promise<string> {
    return (await this.bytes(url, options)).toString('utf8');
  }

  /** What is known about a file without fetching it. Servers that refuse HEAD or hide the size are asked for one byte. */
  async head(url: string, options: { signal?: AbortSignal | undefined } = {}): Promise<Head> {
    const { signal } = options;
    const answer = await this.request(url, { method: 'HEAD', signal, accept: [400, 403, 405, 501] });
    answer.body.destroy();
    const size = contentLength(answer);
    if (answer.status < 300 && size !== undefined) return { size, etag: answer.headers.etag };
    const first = await this.request(url, { headers: { range: 'bytes=0-0' }, signal, accept: [416] });
    first.body.destroy();
    const { etag } = first.headers;
    if (first.status === 200) return { size: contentLength(first), etag };
    const total = /^bytes\s+(?:\d+-\d+|\*)\/(\d+)$/.exec(first.headers['content-range'] ?? '')?.[1];
    return { size: total === undefined ? undefined : Number(total), etag };
  }

  /** Waits before retry number `attempt` (from 0), longer each time; `error` may know better. Throws `interrupted`. */
  async pause(attempt: number, error: unknown, signal?: AbortSignal): Promise<void> {
    const backoff = Math.min(maxDelay, this.#retryDelay * 2 ** attempt) * (0.5 + Math.random() / 2);
    const delay = error instanceof TransferError && error.retryAfter !== undefined ? error.retryAfter : backoff;
    const stop = this.#anySignal(signal);
    try {
      await sleep(delay, undefined, stop && { signal: stop });
    } catch {
      throw interrupted(stop?.reason);
    }
  }

  /** Ends all connections. For tests and long-lived processes; idle connections do not keep a process alive. */
  close(): Promise<void> {
    return this.#connections.close();
  }

  #read(url: string, addresses: readonly string[], options: ReadOptions): Promise<ReadResponse> {
    const limit = options.limit ?? 1 << 20;
    return this.#try(url, addresses, options, async ({ body, ...response }) => {
      const parts: Buffer[] = [];
      let size = 0;
      for await (const chunk of body as AsyncIterable<Buffer>) {
        parts.push(chunk);
        size += chunk.length;
        if (size > limit)
          throw new TransferError(`${redact(url)} is larger than the ${limit} bytes expected of such a file`, {
            transient: false,
            hint: 'The server may have answered with something else, e.g. a login page.',
          });
      }
      return { ...response, bytes: Buffer.concat(parts, size) };
    });
  }

  /** The retry loop: each round asks every address that has not said a definite "no such thing". */
  async #try<T>(
    url: string,
    all: readonly string[],
    options: TriedOptions,
    use: (response: HttpResponse) => Promise<T>,
  ): Promise<T> {
    const addresses = this.#offline ? all.filter((address) => address.startsWith('file:')) : all;
    if (!addresses.length) throw offlineError(url);
    const signal = this.#anySignal(options.signal);
    const missing = new Set<string>();
    for (let attempt = 0; ; attempt++) {
      let failure: KinaError | undefined;
      for (const address of this.#inOrder(addresses.filter((a) => !missing.has(a)))) {
        try {
          if (signal?.aborted) throw interrupted(signal.reason);
          const result = await use(await this.#connections.send({ url, address }, { ...options, signal }));
          this.#troubled.delete(originOf(address));
          return result;
        } catch (error) {
          if (signal?.aborted) throw interrupted(signal.reason);
          const explained = explainFailure(error, { url, address });
          if (explained.code === 'not-found') {
            missing.add(address);
            continue;
          }
          if (explained.code !== 'network') throw explained;
          this.#troubled.add(originOf(address));
          if (!failure || isTransient(explained)) failure = explained;
        }
      }
      if (!failure) throw notFound(url, addresses);
      const tooLong = failure instanceof TransferError && (failure.retryAfter ?? 0) > maxRetryAfter;
      if (!isTransient(failure) || tooLong || attempt >= (options.retries ?? this.retries)) throw failure;
      await this.pause(attempt, failure, options.signal);
    }
  }

  #inOrder(addresses: readonly string[]): string[] {
    const troubled = (address: string) => Number(this.#troubled.has(originOf(address)));
    return [...addresses].sort((a, b) => troubled(a) - troubled(b));
  }

  #anySignal(signal: AbortSignal | undefined): AbortSignal | undefined {
    if (!signal || !this.#signal || signal === this.#signal) return signal ?? this.#signal;
    return AbortSignal.any([signal, this.#signal]);
  }
}

function contentLength(answer: HttpResponse): number | undefined {
  const value = answer.headers['content-length'];
  return value !== undefined && /^\d+$/.test(value) ? Number(value) : undefined;
}
