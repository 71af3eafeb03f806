/**
 * Maps canonical upstream URLs, which the lock holds, to the addresses that are asked. Mirrors are applied only here.
 *
 * - A prefix (`debian:debian/`) is replaced by a configured base URL. The result is final.
 * - A host mirror (`registry.k8s.io` to `https://registry.internal/k8s`) replaces scheme and host of that one host.
 * - A mirror (`--mirror`) serves every other `https://HOST/PATH` as `MIRROR/HOST/PATH`. Several mirrors are equal and
 *   asked in order. Mirrors are for closed networks: with a mirror, upstream is never asked, not even after a 404.
 * - `http:` and `file:` URLs are explicit addresses (an intranet, this machine) and are not rewritten.
 */
import { KinaError } from './errors.ts';

export interface RouteOptions {
  /** Base URLs that hold a folder per upstream host. */
  readonly mirrors?: readonly string[] | undefined;
  /** Upstream host, with port if it has one, to the base URL that replaces it. */
  readonly hostMirrors?: Readonly<Record<string, string>> | undefined;
  /** URL prefix to the base URL that replaces it. */
  readonly prefixes?: Readonly<Record<string, string>> | undefined;
}

export class Routes {
  readonly #mirrors: readonly string[];
  readonly #hosts: ReadonlyMap<string, string>;
  readonly #prefixes: readonly (readonly [string, string])[];

  /** Throws `usage` for a base that is not an http, https or file URL. */
  constructor(options: RouteOptions) {
    this.#mirrors = (options.mirrors ?? []).map(base);
    this.#hosts = new Map(
      Object.entries(options.hostMirrors ?? {}).map(([host, to]) => [host.toLowerCase(), base(to)]),
    );
    this.#prefixes = Object.entries(options.prefixes ?? {})
      .map(([prefix, to]) => [prefix, base(to)] as const)
      .sort(([a], [b]) => b.length - a.length);
  }

  /** The addresses for `url`, in the order to ask them; at least one. Throws `usage` for an invalid URL. */
  addresses(url: string): string[] {
    for (const [prefix, to] of this.#prefixes) if (url.startsWith(prefix)) return [join(to, url.slice(prefix.length))];
    const parsed = URL.canParse(url) ? new URL(url) : undefined;
    if (parsed?.protocol === 'file:') return [url];
    if (parsed?.protocol !== 'http:' && parsed?.protocol !== 'https:')
      throw new KinaError('usage', `cannot fetch ${redact(url)}`, { hint: 'Give an https, http or file URL.' });
    const path = parsed.pathname + parsed.search;
    const host = this.#hosts.get(parsed.host);
    if (host !== undefined) return [join(host, path)];
    if (parsed.protocol === 'https:' && this.#mirrors.length)
      return this.#mirrors.map((mirror) => join(mirror, parsed.host + path));
    return [url];
  }
}

/**
 * A URL that is safe to show: without user, password and the values of query parameters that grant access (storage
 * servers sign redirects that way).
 */
export function redact(url: string): string {
  if (!URL.canParse(url)) return url.replace(/\/\/[^/@\s]*@/, '//***@');
  const parsed = new URL(url);
  if (!parsed.username && !parsed.password && !parsed.search) return url;
  if (parsed.username || parsed.password) {
    parsed.username = '***';
    parsed.password = '';
  }
  for (const name of new Set(parsed.searchParams.keys()))
    if (/sig|token|key|cred|pass|secret|auth|policy/i.test(name)) parsed.searchParams.set(name, '***');
  return parsed.href;
}

/** True for this machine itself: `localhost` and its subdomains, 127.0.0.0/8, ::1. */
export function isLoopback(hostname: string): boolean {
  return /^(localhost|.*\.localhost|127\.\d+\.\d+\.\d+|\[?::1\]?)$/i.test(hostname);
}

export function originOf(address: string): string {
  return new URL(address).origin;
}

function base(url: string): string {
  if (!URL.canParse(url) || !/^(https?|file):$/.test(new URL(url).protocol))
    throw new KinaError('usage', `invalid mirror URL: ${redact(url)}`, {
      hint: 'Use an http, https or file URL, e.g. https://mirror.example.org/upstream.',
    });
  return url;
}

function join(to: string, path: string): string {
  return `${to.replace(/\/+$/, '')}/${path.replace(/^\/+/, '')}`;
}
