/**
 * Where a canonical URL is really asked for. Everything outside this file speaks in canonical upstream URLs (what a
 * lock holds); mirrors are applied here and nowhere else.
 *
 * - A prefix (`debian:debian/`) stands for a base URL that configuration chose. The result is final.
 * - A host mirror (`registry.k8s.io` to `https://registry.internal/k8s`) replaces scheme and host of that one host.
 * - A mirror (`--mirror`) takes every other `https://HOST/PATH` as `MIRROR/HOST/PATH`. Several are equals, asked in
 *   order. Mirrors are for closed networks: when one is given, upstream itself is never asked, not even after a 404.
 * - `http:` and `file:` URLs are addresses a person chose (an intranet, this machine) and stay as they are.
 */
import { KinaError } from './errors.ts';

export interface RouteOptions {
  /** Base URLs that hold a folder per upstream host. */
  readonly mirrors?: readonly string[] | undefined;
  /** Upstream host, with port if it has one, to the base URL that replaces it. */
  readonly hostMirrors?: Readonly<Record<string, string>> | undefined;
  /** Leading part of a URL to the base URL that replaces it. */
  readonly prefixes?: Readonly<Record<string, string>> | undefined;
}

export class Routes {
  readonly #mirrors: readonly string[];
  readonly #hosts: ReadonlyMap<string, string>;
  readonly #prefixes: readonly (readonly [string, string])[];

  /** Throws `usage` for a base that is no http, https or file URL. */
  constructor(options: RouteOptions) {
    this.#mirrors = (options.mirrors ?? []).map(base);
    this.#hosts = new Map(
      Object.entries(options.hostMirrors ?? {}).map(([host, to]) => [host.toLowerCase(), base(to)]),
    );
    this.#prefixes = Object.entries(options.prefixes ?? {})
      .map(([prefix, to]) => [prefix, base(to)] as const)
      .sort(([a], [b]) => b.length - a.length);
  }

  /** The addresses that stand for `url`, in the order to ask them; at least one. Throws `usage` for what is no URL. */
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
 * A URL fit for people's eyes: no user, no password, and no values of query parameters that grant access (storage
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
    throw new KinaError('usage', `not a usable mirror: ${redact(url)}`, {
      hint: 'A mirror is an http, https or file URL, e.g. https://mirror.example.org/upstream.',
    });
  return url;
}

function join(to: string, path: string): string {
  return `${to.replace(/\/+$/, '')}/${path.replace(/^\/+/, '')}`;
}
