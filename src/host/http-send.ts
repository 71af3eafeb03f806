/**
 * Sends one request to one address: connections, proxies, redirects and logins. Mirrors and retries are in `http.ts`.
 *
 * - Redirects are followed up to a limit, but never from https to http (an attacker on the path could choose the content
 *   of anything without a digest) and never to other schemes. Credentials are not sent to another origin.
 * - Proxies come from HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in upper or lower case. Loopback addresses are never asked
 *   through a proxy.
 */
import { Readable } from 'node:stream';
import { Agent, type Dispatcher, EnvHttpProxyAgent, request } from 'undici';
import type { Proxies } from './environment.ts';
import { KinaError } from './errors.ts';
import { basic, type RealmReader } from './http-bearer.ts';
import { type Asked, describe, explainFailure, interrupted, notFound, refused, TransferError } from './http-errors.ts';
import { answerFile } from './http-file.ts';
import { Authorizations, type FindLogin } from './http-login.ts';
import { isLoopback, originOf, redact } from './http-route.ts';

type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export interface RequestOptions {
  readonly method?: Method | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** The request body: bytes, or a function that starts a new stream, which needs `content-length` among the headers. */
  readonly body?: Uint8Array | (() => AsyncIterable<Uint8Array>) | undefined;
  /** The scope that a token must have for this request, as token servers spell it: `repository:a/b:pull,push`. */
  readonly scope?: string | undefined;
  /** Do not answer a 401 with a login or token. */
  readonly anonymous?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Statuses besides 2xx and 304 that are returned instead of thrown. */
  readonly accept?: readonly number[] | undefined;
}
export interface HttpResponse {
  readonly status: number;
  /** Names are in lower case; repeated headers are joined with `, `. */
  readonly headers: Readonly<Record<string, string>>;
  /** Must be read to its end or destroyed. Its errors are KinaErrors. */
  readonly body: Readable;
  /** The address that was asked, before any redirect, without credentials. */
  readonly address: string;
}
/** Milliseconds. */
export interface Timeouts {
  /** Time to connect. Default 15 000. */
  readonly connect?: number | undefined;
  /** Time until the response begins. Default 60 000. */
  readonly headers?: number | undefined;
  /** Time between two chunks of a body. Default 60 000. */
  readonly body?: number | undefined;
}
type Answer = Omit<HttpResponse, 'address'>;

const maxRedirects = 10;

export class Connections {
  readonly #userAgent: string;
  readonly #timeouts: Timeouts;
  readonly #proxies: Proxies;
  readonly #direct: Dispatcher;
  readonly #proxied: Dispatcher;
  readonly #authorizations: Authorizations;

  /** `readRealm` fetches the answer of a token server that `address` named. Throws `usage` for a malformed proxy. */
  constructor(options: {
    userAgent: string;
    timeouts: Timeouts;
    readRealm: RealmReader;
    findLogin?: FindLogin | undefined;
    proxies: Proxies;
  }) {
    this.#proxies = options.proxies;
    this.#userAgent = options.userAgent;
    this.#timeouts = options.timeouts;
    const agent = { connect: { timeout: options.timeouts.connect ?? 15_000 } };
    this.#direct = new Agent(agent);
    // Plain HTTP uses the proxy's absolute form, as curl does: many proxies allow CONNECT to port 443 only.
    this.#proxied = new EnvHttpProxyAgent({
      ...agent,
      proxyTunnel: false,
      httpProxy: proxyUrl(this.#proxies.http, 'HTTP_PROXY'),
      httpsProxy: proxyUrl(this.#proxies.https, 'HTTPS_PROXY'),
      noProxy: this.#proxies.none ?? '',
    });
    this.#authorizations = new Authorizations(options.readRealm, options.findLogin);
  }

  /** Resolves when an accepted response begins; throws KinaErrors and any error of the connection. */
  async send(asked: Asked, options: RequestOptions): Promise<HttpResponse> {
    const { signal, scope } = options;
    if (signal?.aborted) throw interrupted(signal.reason);
    let target = asked.address;
    let headers: Record<string, string> = { 'user-agent': this.#userAgent, 'accept-encoding': 'identity' };
    for (const [name, value] of Object.entries(options.headers ?? {})) headers[name.toLowerCase()] = value;
    const known = options.anonymous ? undefined : await this.#authorizations.known(target, scope);
    if (known && !headers.authorization) headers = { ...headers, authorization: known };
    for (let redirects = 0, answers = 0; ; ) {
      const answer = await this.#exchange(target, headers, options);
      const { status } = answer;
      const wanted = (status >= 200 && status < 300) || status === 304 || options.accept?.includes(status);
      if (wanted)
        return { ...answer, body: guarded(answer.body, asked, signal, this.#proxies), address: redact(asked.address) };
      const says = await whatItSays(answer, (text) => this.#authorizations.mask(text));
      if (status === 404 || status === 410) throw notFound(asked.url, [target]);
      if ([301, 302, 303, 307, 308].includes(status) && answer.headers.location) {
        if (++redirects > maxRedirects)
          throw new TransferError(`${describe(asked)}: more than ${maxRedirects} redirects`, { transient: false });
        const next = redirectTarget(asked, target, answer.headers.location);
        // Other redirects may turn a request into a GET (RFC 9110, 15.4), which would drop the body silently.
        if (options.body !== undefined && status !== 307 && status !== 308)
          throw refused({ url: asked.url, address: target }, status, answer.headers, says);
        if (originOf(next) !== originOf(target)) headers = withoutCredentials(headers);
        target = next;
        continue;
      }
      if (status === 401 && !options.anonymous && answers++ < 2) {
        const challenge = answer.headers['www-authenticate'];
        const authorization = await this.#authorizations.answer(challenge, target, headers.authorization, scope);
        if (authorization) {
          headers = { ...headers, authorization };
          continue;
        }
      }
      const login = status === 401 || status === 403 ? await this.#authorizations.sourceOf(target) : undefined;
      throw refused({ url: asked.url, address: target }, status, answer.headers, says, login);
    }
  }

  async #exchange(
    target: string,
    headers: Readonly<Record<string, string>>,
    { method = 'GET', body, signal }: RequestOptions,
  ): Promise<Answer> {
    if (target.startsWith('file:')) return answerFile(target, method);
    const url = new URL(target);
    const authorization = basicAuthorization(url);
    if (authorization.authorization) {
      this.#authorizations.remember(decodeURIComponent(url.password));
      this.#authorizations.remember(authorization.authorization.slice('Basic '.length));
    }
    url.username = '';
    url.password = '';
    const answer = await request(url, {
      method,
      headers: { ...authorization, ...headers },
      body: typeof body === 'function' ? Readable.from(body(), { objectMode: false }) : (body ?? null),
      dispatcher: this.#dispatcher(url),
      signal: signal ?? null,
      // Set per request, not on the agents: undici's proxy wrapper drops the options of its agent. A server that has
      // received gigabytes may need time to answer.
      headersTimeout: this.#timeouts.headers ?? (typeof body === 'function' ? 600_000 : 60_000),
      bodyTimeout: this.#timeouts.body ?? 60_000,
    });
    return { status: answer.statusCode, headers: joined(answer.headers), body: answer.body };
  }

  /** HTTP_PROXY does not apply to https, although undici falls back to it. */
  #dispatcher(url: URL): Dispatcher {
    if (isLoopback(url.hostname) || (url.protocol === 'https:' && !this.#proxies.https)) return this.#direct;
    return this.#proxied;
  }

  /** Closes all connections, including those in use. */
  async close(): Promise<void> {
    await Promise.all([this.#direct.destroy(), this.#proxied.destroy()]);
  }
}

/** Passes the bytes on and explains errors. */
function guarded(body: Readable, asked: Asked, signal: AbortSignal | undefined, proxies: Proxies): Readable {
  const readable = Readable.from(
    (async function* () {
      try {
        for await (const chunk of body) {
          yield chunk;
          // A body from a file does not observe the signal itself.
          if (signal?.aborted) throw interrupted(signal.reason);
        }
      } catch (error) {
        throw signal?.aborted ? interrupted(signal.reason) : explainFailure(error, asked, proxies);
      }
    })(),
    { objectMode: false },
  );
  // Readable.from does not end a generator that never started: without this, an unread body keeps its socket.
  body.on('error', () => {});
  readable.once('close', () => body.destroy());
  return readable;
}

function redirectTarget(asked: Asked, from: string, location: string): string {
  const next = URL.canParse(location, from) ? new URL(location, from) : undefined;
  const refuse = (why: string) =>
    new TransferError(`${describe(asked)}: refused a redirect ${why}: ${redact(location)}`, {
      transient: false,
      hint: 'If you trust the target, use it as the source instead.',
    });
  if (!next || (next.protocol !== 'https:' && next.protocol !== 'http:'))
    throw refuse('to a URL that is not http or https');
  if (from.startsWith('https:') && next.protocol === 'http:') throw refuse('from https to http');
  return next.href;
}

function withoutCredentials(headers: Readonly<Record<string, string>>): Record<string, string> {
  const { authorization: _, cookie: __, ...rest } = headers;
  return rest;
}

function basicAuthorization(url: URL): Record<string, string> {
  if (!url.username && !url.password) return {};
  return { authorization: basic(decodeURIComponent(url.username), decodeURIComponent(url.password)) };
}

function joined(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) =>
      value === undefined ? [] : [[name.toLowerCase(), Array.isArray(value) ? value.join(', ') : value]],
    ),
  );
}

/** Larger bodies are not error messages. */
const maxMessageBytes = 64 << 10;

/** The beginning of an error response if it is text, without control characters, because it is shown in a terminal. */
async function whatItSays(answer: Answer, mask: (text: string) => string): Promise<string> {
  const readable = /^(application\/([\w.]+\+)?json|text\/plain)/.test(answer.headers['content-type'] ?? '');
  const parts: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      parts.push(chunk);
      size += chunk.length;
      if (!readable || size > maxMessageBytes) return ''; // returning destroys the body
    }
  } catch {
    // The status matters more. A partial body may end in the middle of a secret, which would not be masked.
    return '';
  }
  return mask(Buffer.concat(parts).toString('utf8'))
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim()
    .slice(0, 300);
}

/**
 * The proxy's URL; `HOST:PORT` is accepted, as in curl. Empty without one: for `undefined` undici reads the environment
 * itself. `variable` names the setting in errors.
 */
function proxyUrl(value: string | undefined, variable: string): string {
  if (value === undefined) return '';
  const url = value.includes('://') ? value : `http://${value}`;
  if (!URL.canParse(url) || !/^(https?|socks5?):$/.test(new URL(url).protocol))
    throw new KinaError('usage', `${variable} is not a proxy URL: ${redact(url)}`, { hint: 'Use http://HOST:PORT.' });
  return url;
}
