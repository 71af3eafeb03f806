/**
 * One request to one address: connections, proxies, redirects and logins. No mirrors and no retries: those are
 * `http.ts`.
 *
 * - Redirects are followed within reason: never from https to http (an attacker in between could choose the bytes of
 *   whatever has no digest yet), never to other schemes; credentials do not travel to another origin.
 * - Proxies come from HTTP_PROXY, HTTPS_PROXY and NO_PROXY, in either case; this machine itself is never asked through
 *   a proxy.
 */
import { Readable } from 'node:stream';
import { Agent, type Dispatcher, EnvHttpProxyAgent, request } from 'undici';
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
  /** What is sent: bytes, or a stream that can be begun again; then `content-length` is among the headers. */
  readonly body?: Uint8Array | (() => AsyncIterable<Uint8Array>) | undefined;
  /** What a token has to allow for this request, in the words of token servers: `repository:a/b:pull,push`. */
  readonly scope?: string | undefined;
  /** A refusal is final: neither logins nor tokens are offered. */
  readonly anonymous?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Statuses beside 2xx and 304 that the caller wants to see instead of an error. */
  readonly accept?: readonly number[] | undefined;
}
export interface HttpResponse {
  readonly status: number;
  /** Lower-case names; repeated headers joined with `, `. */
  readonly headers: Readonly<Record<string, string>>;
  /** Must be read to its end or destroyed. Its errors are KinaErrors. */
  readonly body: Readable;
  /** The address that was asked, before any redirect; fit for messages: no credentials. */
  readonly address: string;
}
/** Milliseconds. */
export interface Timeouts {
  /** To connect. Default 15 000. */
  readonly connect?: number | undefined;
  /** Until an answer begins. Default 60 000. */
  readonly headers?: number | undefined;
  /** Between two pieces of a body. Default 60 000. */
  readonly body?: number | undefined;
}
type Answer = Omit<HttpResponse, 'address'>;

const maxRedirects = 10;

export class Connections {
  readonly #userAgent: string;
  readonly #timeouts: Timeouts;
  readonly #direct: Dispatcher;
  readonly #proxied: Dispatcher;
  readonly #authorizations: Authorizations;

  /** `readRealm` gets the answer of a token server that `address` named. Throws `usage` for a malformed proxy. */
  constructor(options: {
    userAgent: string;
    timeouts: Timeouts;
    readRealm: RealmReader;
    findLogin?: FindLogin | undefined;
  }) {
    this.#userAgent = options.userAgent;
    this.#timeouts = options.timeouts;
    const agent = { connect: { timeout: options.timeouts.connect ?? 15_000 } };
    this.#direct = new Agent(agent);
    // Plain HTTP is asked of the proxy in absolute form, as everybody does: many allow CONNECT to port 443 only.
    this.#proxied = new EnvHttpProxyAgent({
      ...agent,
      proxyTunnel: false,
      ...proxyOption('httpProxy', 'HTTP_PROXY'),
      ...proxyOption('httpsProxy', 'HTTPS_PROXY'),
    });
    this.#authorizations = new Authorizations(options.readRealm, options.findLogin);
  }

  /** Resolves when a wanted answer begins; throws KinaErrors, and whatever the connection throws. */
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
      if (wanted) return { ...answer, body: guarded(answer.body, asked, signal), address: redact(asked.address) };
      const says = await whatItSays(answer, (text) => this.#authorizations.mask(text));
      if (status === 404 || status === 410) throw notFound(asked.url, [target]);
      if ([301, 302, 303, 307, 308].includes(status) && answer.headers.location) {
        if (++redirects > maxRedirects)
          throw new TransferError(`${describe(asked)}: more than ${maxRedirects} redirects`, { transient: false });
        const next = redirectTarget(asked, target, answer.headers.location);
        // Other redirects may turn a request into a GET (RFC 9110, 15.4): what was to be sent would be lost in silence.
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
      // Here and not on the agents: undici's proxy wrapper forgets those of its agent. Who has received gigabytes may
      // think about them for a while.
      headersTimeout: this.#timeouts.headers ?? (typeof body === 'function' ? 600_000 : 60_000),
      bodyTimeout: this.#timeouts.body ?? 60_000,
    });
    return { status: answer.statusCode, headers: joined(answer.headers), body: answer.body };
  }

  /** HTTP_PROXY is not for https, although undici falls back to it. */
  #dispatcher(url: URL): Dispatcher {
    if (isLoopback(url.hostname) || (url.protocol === 'https:' && !environment('HTTPS_PROXY'))) return this.#direct;
    return this.#proxied;
  }

  /** Ends all connections, also those in use. */
  async close(): Promise<void> {
    await Promise.all([this.#direct.destroy(), this.#proxied.destroy()]);
  }
}

/** The same bytes; errors with words. */
function guarded(body: Readable, asked: Asked, signal: AbortSignal | undefined): Readable {
  const readable = Readable.from(
    (async function* () {
      try {
        for await (const chunk of body) {
          yield chunk;
          // A body from a file does not hear the signal by itself.
          if (signal?.aborted) throw interrupted(signal.reason);
        }
      } catch (error) {
        throw signal?.aborted ? interrupted(signal.reason) : explainFailure(error, asked);
      }
    })(),
    { objectMode: false },
  );
  // Readable.from does not end a generator that never started: without this, a body nobody reads holds its socket.
  body.on('error', () => {});
  readable.once('close', () => body.destroy());
  return readable;
}

function redirectTarget(asked: Asked, from: string, location: string): string {
  const next = URL.canParse(location, from) ? new URL(location, from) : undefined;
  const refuse = (why: string) =>
    new TransferError(`${describe(asked)}: the server redirects ${why}: ${redact(location)}`, {
      transient: false,
      hint: 'Such a redirect is not followed. If you trust the target, name it as the source.',
    });
  if (!next || (next.protocol !== 'https:' && next.protocol !== 'http:'))
    throw refuse('to something that is no web address');
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

/** More than that is no message. */
const maxMessageBytes = 64 << 10;

/** The first words of an error's body, when they are words: they go to a terminal, so control characters do not. */
async function whatItSays(answer: Answer, mask: (text: string) => string): Promise<string> {
  const readable = /^(application\/([\w.]+\+)?json|text\/plain)/.test(answer.headers['content-type'] ?? '');
  const parts: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      parts.push(chunk);
      size += chunk.length;
      if (!readable || size > maxMessageBytes) return ''; // leaving the loop destroys the body
    }
  } catch {
    // The status is the news. What broke off may end in the middle of a secret.
    return '';
  }
  return mask(Buffer.concat(parts).toString('utf8'))
    .replace(/[\p{Cc}\s]+/gu, ' ')
    .trim()
    .slice(0, 300);
}

function environment(name: string): string | undefined {
  return process.env[name.toLowerCase()] || process.env[name] || undefined;
}

/** The proxy a variable names; `HOST:PORT` is read as curl reads it. */
function proxyOption(option: 'httpProxy' | 'httpsProxy', variable: string): Record<string, string> {
  const value = environment(variable);
  if (value === undefined) return {};
  const url = value.includes('://') ? value : `http://${value}`;
  if (!URL.canParse(url) || !/^(https?|socks5?):$/.test(new URL(url).protocol))
    throw new KinaError('usage', `${variable} is no proxy: ${redact(url)}`, { hint: 'Write http://HOST:PORT.' });
  return { [option]: url };
}
