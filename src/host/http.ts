/**
 * HTTP for everything that kina reads from outside: mirrors, retries, limits and error messages in one place.
 *
 * - URLs are canonical; `http-route.ts` maps them to addresses. "Not found" needs a 404 or 410 from every address: a
 *   mirror that is down must not look like a missing file.
 * - Lost connections, timeouts, 408, 429 and 5xx are retried with exponential backoff and jitter, or after the server's
 *   `Retry-After`; other errors and cancellations are not. Broken bodies are handled by the reader: `read` starts again,
 *   `artifacts/fetch.ts` resumes.
 * - `offline` is enforced here, so no request can bypass it. `file:` URLs still work, since they need no network.
 * - Redirects, proxies and logins: `http-send.ts`.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Proxies } from './environment.ts';
import type { KinaError } from './errors.ts';
import { explainFailure, interrupted, isTransient, notFound, offlineError, TransferError } from './http-errors.ts';
import type { FindLogin } from './http-login.ts';
import { originOf, type RouteOptions, Routes, redact } from './http-route.ts';
import { Connections, type HttpResponse, type RequestOptions, type Timeouts } from './http-send.ts';

export type { HttpResponse, RequestOptions } from './http-send.ts';

export interface TransportOptions extends RouteOptions {
  /** Refuse everything except `file:` URLs with an `offline` error. */
  readonly offline?: boolean | undefined;
  readonly userAgent?: string | undefined;
  /** How often a failed request is retried. Default 4. */
  readonly retries?: number | undefined;
  /** Milliseconds before the first retry; doubled each time. Default 500. */
  readonly retryDelay?: number | undefined;
  readonly timeouts?: Timeouts | undefined;
  /** Default: no proxy. */
  readonly proxies?: Proxies | undefined;
  /** Finds the login for a server. Anonymous if absent. */
  readonly findLogin?: FindLogin | undefined;
  /** Cancels all requests of this transport. */
  readonly signal?: AbortSignal | undefined;
}
export interface TriedOptions extends RequestOptions {
  /** Overrides the transport's number of retries, e.g. 0 if the caller resumes on its own. */
  readonly retries?: number | undefined;
}
export interface ReadOptions extends TriedOptions {
  /** Maximum size in bytes. Default 1 MiB. */
  readonly limit?: number | undefined;
}
export interface ReadResponse extends Omit<HttpResponse, 'body'> {
  readonly bytes: Buffer;
}
export interface Head {
  /** Bytes, if the server reports them. */
  readonly size: number | undefined;
  readonly etag: string | undefined;
}

/** A server that asks for a longer delay is treated as down. */
const maxRetryAfter = 120_000;
const maxDelay = 30_000;

export class Transport {
  readonly retries: number;
  readonly #retryDelay: number;
  readonly #routes: Routes;
  readonly #offline: boolean;
  readonly #signal: AbortSignal | undefined;
  readonly #connections: Connections;
  readonly #proxies: Proxies;
  /** Origins whose last request failed; among several mirrors they are asked last. */
  readonly #troubled = new Set<string>();

  /** Throws `usage` for a mirror or a proxy that is not a URL. */
  constructor(options: TransportOptions = {}) {
    this.retries = options.retries ?? 4;
    this.#retryDelay = options.retryDelay ?? 500;
    this.#routes = new Routes(options);
    this.#offline = options.offline ?? false;
    this.#signal = options.signal;
    this.#proxies = options.proxies ?? {};
    this.#connections = new Connections({
      userAgent: options.userAgent ?? 'kina',
      timeouts: options.timeouts ?? {},
      readRealm: async (realm, address, request) => {
        // A mirror that passes on upstream's challenge also serves its token server; its own realm is asked directly.
        const addresses = originOf(realm) === originOf(address) ? [realm] : this.#routes.addresses(realm);
        return (await this.#read(realm, addresses, { ...request, anonymous: true, limit: 64 << 10 })).bytes;
      },
      findLogin: options.findLogin,
      proxies: this.#proxies,
    });
  }

  /**
   * Sends a request; resolves when the response begins. Throws `not-found`, `offline`, `network`, `interrupted`, and
   * `usage` for an invalid URL.
   */
  request(url: string, options: TriedOptions = {}): Promise<HttpResponse> {
    return this.#try(url, this.#routes.addresses(url), options, async (response) => response);
  }

  /** Reads the whole response into memory; restarts if it breaks off. Throws `network` above the limit. */
  read(url: string, options: ReadOptions = {}): Promise<ReadResponse> {
    return this.#read(url, this.#routes.addresses(url), options);
  }

  async bytes(url: string, options: ReadOptions = {}): Promise<Buffer> {
    return (await this.read(url, options)).bytes;
  }

  async text(url: string, options: ReadOptions = {}): Promise<string> {
    return (await this.bytes(url, options)).toString('utf8');
  }

  /** Size and headers without fetching. If a server refuses HEAD or hides the size, one byte is requested. */
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

  /** Waits before retry number `attempt` (from 0), with backoff or `error`'s `retryAfter`. Throws `interrupted`. */
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

  /** Closes all connections, for tests and long-lived processes; idle connections do not keep a process alive. */
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
          throw new TransferError(`${redact(url)} is larger than the limit of ${limit} bytes for this kind of file`, {
            transient: false,
            hint: 'The server may have sent something else, e.g. a login page.',
          });
      }
      return { ...response, bytes: Buffer.concat(parts, size) };
    });
  }

  /** The retry loop: each round asks every address that has not answered "not found". */
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
          const explained = explainFailure(error, { url, address }, this.#proxies);
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
