/**
 * Explains failed transfers: the wanted URL, the address that was asked, the reason, what to do. It also decides what is
 * retried: lost connections, timeouts and overloaded servers are transient; certificate errors, unknown hosts, refusals
 * and Ctrl-C are not.
 */
import type { Proxies } from './environment.ts';
import { type ErrorOptions, isErrno, KinaError } from './errors.ts';
import { redact } from './http-route.ts';

interface TransferErrorOptions extends ErrorOptions {
  readonly transient: boolean;
  readonly retryAfter?: number | undefined;
  readonly status?: number | undefined;
}

/**
 * A failed transfer. `transient`: the same request may succeed later; `retryAfter`: when, according to the server, in ms;
 * `status`: the HTTP status, if there was an answer.
 */
export class TransferError extends KinaError {
  readonly transient: boolean;
  readonly retryAfter: number | undefined;
  readonly status: number | undefined;

  constructor(message: string, options: TransferErrorOptions) {
    super('network', message, options);
    this.transient = options.transient;
    this.retryAfter = options.retryAfter;
    this.status = options.status;
  }
}

/** The wanted URL and the address that was asked for it. */
export interface Asked {
  readonly url: string;
  readonly address: string;
}

export function isTransient(error: unknown): boolean {
  return error instanceof TransferError && error.transient;
}

export function interrupted(cause?: unknown): KinaError {
  return cause instanceof KinaError ? cause : new KinaError('interrupted', 'interrupted', { cause });
}

/** The URL, followed by the mirror's address if a mirror was asked. */
export function describe(asked: Asked): string {
  const url = redact(asked.url);
  const address = redact(asked.address);
  return url === address ? url : `${url} (asked ${address})`;
}

/** Every server for this URL answered that it does not exist. */
export function notFound(url: string, addresses: readonly string[]): KinaError {
  const asked = addresses.filter((address) => address !== url).map(redact);
  return new KinaError('not-found', `${redact(url)} does not exist`, {
    details: asked.map((address) => `asked ${address}`),
    hint: asked.length
      ? 'Check the version and the name; a mirror may lack files that upstream has.'
      : 'Check the version and the name.',
  });
}

export function offlineError(url: string): KinaError {
  return new KinaError('offline', `${redact(url)} is not in the store, and --offline forbids network access`, {
    hint: 'Run the command once without --offline.',
  });
}

/**
 * An answer that is neither success nor "not found". `says` is the server's own message, `login` the source of the login
 * that was sent.
 */
export function refused(
  asked: Asked,
  status: number,
  headers: Readonly<Record<string, string>>,
  says: string,
  login?: string,
): TransferError {
  const transient = status === 408 || status === 429 || status >= 500;
  const retryAfter = transient ? parseRetryAfter(headers['retry-after']) : undefined;
  return new TransferError(`${describe(asked)}: the server answered ${status}`, {
    transient,
    retryAfter,
    status,
    details: [
      ...(says ? [`server message: ${says}`] : []),
      ...(retryAfter ? [`retry after ${Math.ceil(retryAfter / 1000)} s`] : []),
    ],
    hint: transient
      ? 'The server or a proxy is overloaded or down. Try again later.'
      : status === 401 || status === 403
        ? login
          ? `The login in ${login} does not allow this. Log in again, or with an account that has access.`
          : 'The file is private or does not exist, or a proxy forbids it.'
        : status === 407
          ? 'The proxy requires a login: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT.'
          : 'The server does not accept this request.',
  });
}

/** Turns any error of a connection into an explained error. KinaErrors pass unchanged. */
export function explainFailure(error: unknown, asked: Asked, proxies: Proxies = {}): KinaError {
  if (error instanceof KinaError) return error;
  const reason = findReason(error);
  return new TransferError(`${describe(asked)}: ${reason.text}`, {
    transient: reason.transient,
    hint: [reason.hint, proxyHint(asked.address, proxies)].filter(Boolean).join(' '),
    cause: error,
  });
}

interface Reason {
  text: string;
  transient: boolean;
  hint: string;
}

const certificate =
  /^(CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|CRL_|ERR_TLS_CERT|HOSTNAME_MISMATCH|INVALID_CA|ERROR_IN_CERT)/;

function findReason(error: unknown): Reason {
  const chain: Error[] = [];
  for (let e = error; e instanceof Error && chain.length < 8; e = e.cause) {
    chain.push(e);
    if (e instanceof AggregateError) chain.push(...e.errors.filter((inner) => inner instanceof Error));
  }
  const code = chain.map((e) => ('code' in e ? String(e.code) : '')).find(Boolean) ?? '';
  const text = chain.map((e) => e.message).find(Boolean) ?? String(error);
  const has = (...codes: string[]) => chain.some((e) => isErrno(e, ...codes));

  const listed = (reasons: typeof nameFailures) => reasons.find(({ codes }) => has(...codes));
  return listed(nameFailures) ?? refusalOf(chain, code, text) ?? listed(connectionFailures) ?? lost(text, has);
}

const inClosedNetwork = 'in a closed network, use --mirror.';
const resumes = 'Try again; downloads resume where they stopped.';
const nameFailures: readonly (Reason & { codes: readonly string[] })[] = [
  {
    codes: ['ENOTFOUND', 'ENODATA'],
    text: 'unknown host name',
    transient: false,
    hint: `Check the name, DNS and the network; ${inClosedNetwork}`,
  },
  {
    codes: ['EAI_AGAIN'],
    text: 'the DNS server does not answer',
    transient: true,
    hint: `Check the network; ${inClosedNetwork}`,
  },
];
const connectionFailures: typeof nameFailures = [
  {
    codes: ['ECONNREFUSED'],
    text: 'connection refused',
    transient: true,
    hint: 'Check the host, the port, and that the server is running.',
  },
  {
    codes: ['UND_ERR_CONNECT_TIMEOUT', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN', 'ENETDOWN'],
    text: 'the server cannot be reached',
    transient: true,
    hint: `Check the network; ${inClosedNetwork}`,
  },
  {
    codes: ['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'],
    text: 'the server stopped sending',
    transient: true,
    hint: resumes,
  },
];

/** TLS and proxies explain themselves in the text of the error. */
function refusalOf(chain: readonly Error[], code: string, text: string): Reason | undefined {
  if (chain.some((e) => 'code' in e && certificate.test(String(e.code))))
    return {
      text: `the server's certificate is not trusted: ${text}`,
      transient: false,
      hint: 'If your network inspects TLS, set NODE_EXTRA_CA_CERTS=FILE.pem to its CA, or set NODE_USE_SYSTEM_CA=1.',
    };
  if (chain.some((e) => isErrno(e, 'EPROTO')) || code.startsWith('ERR_SSL'))
    return {
      text: `TLS failed: ${text}`,
      transient: false,
      hint: 'The server may speak plain HTTP: check the URL scheme.',
    };
  if (/^Proxy response \(\d+\)|^Proxy Authentication/.test(text))
    return {
      text: `the proxy refused: ${/\d+/.exec(text)?.[0] ?? text}`,
      transient: /\(50[234]\)/.test(text),
      hint: /407/.test(text) ? 'The proxy requires a login: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT.' : '',
    };
  return undefined;
}

/** Any other failure is a lost connection, unless the request itself was invalid. */
function lost(text: string, has: (...codes: string[]) => boolean): Reason {
  if (has('UND_ERR_INVALID_ARG', 'ERR_INVALID_URL')) return { text, transient: false, hint: '' };
  return { text: `the connection was lost (${text})`, transient: true, hint: resumes };
}

/** A reminder that a proxy is in use, without its credentials. */
function proxyHint(address: string, proxies: Proxies): string {
  const name = address.startsWith('https:') ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  const proxy = name === 'HTTPS_PROXY' ? proxies.https : proxies.http;
  return proxy && !address.startsWith('file:')
    ? `${name} is ${redact(proxy)}; hosts in NO_PROXY are reached without it.`
    : '';
}

/** Seconds or a date (RFC 9110, 10.2.3), as milliseconds from now. */
function parseRetryAfter(value: string | undefined): number | undefined {
  if (!value) return undefined;
  if (/^\d+$/.test(value.trim())) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - Date.now());
}
