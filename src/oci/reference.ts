/**
 * Names of images in registries, with Docker's defaults: `busybox` is `docker.io/library/busybox:latest`, and the first part
 * is a registry only when it looks like a host (github.com/distribution/reference, "Grammar"; OCI distribution
 * specification, "Pulling manifests").
 */
import { KinaError } from '../host/errors.ts';
import { isLoopback } from '../host/http-route.ts';
import { type Digest, isDigest } from './descriptor.ts';

export interface ImageReference {
  /** Host, with an optional port: `docker.io`, `registry.k8s.io`, `localhost:5000`. */
  readonly registry: string;
  /** Full path in the registry: `library/busybox`. */
  readonly repository: string;
  /** Undefined only when there is a digest. A digest wins over a tag. */
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
}

const part = '[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*';
const repositoryForm = new RegExp(`^${part}(?:/${part})*$`);
const tagForm = /^\w[\w.-]{0,127}$/;
const hostForm = /^(?:\[[0-9a-f:]+\]|[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?)(?::\d{1,5})?$/i;

/** Throws `usage` with the part that is wrong. */
export function parseReference(text: string): ImageReference {
  const wrong = (problem: string) =>
    new KinaError('usage', `${JSON.stringify(text)} is not an image reference: ${problem}`, {
      hint: 'Write [HOST[:PORT]/]NAME[:TAG][@sha256:DIGEST], e.g. registry.k8s.io/pause:3.10.',
    });
  const at = text.indexOf('@');
  const named = at < 0 ? text : text.slice(0, at);
  const digest = at < 0 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !isDigest(digest)) throw wrong('a digest must be sha256: and 64 hexadecimal digits');
  const slash = named.indexOf('/');
  const first = slash < 0 ? '' : named.slice(0, slash);
  const hasHost = /[.:A-Z]/.test(first) || first === 'localhost';
  const host = hasHost ? first : 'docker.io';
  const rest = hasHost ? named.slice(slash + 1) : named;
  const colon = rest.indexOf(':');
  const path = colon < 0 ? rest : rest.slice(0, colon);
  const tag = colon < 0 ? undefined : rest.slice(colon + 1);
  if (!hostForm.test(host)) throw wrong(`${JSON.stringify(host)} is not a host`);
  if (!repositoryForm.test(path) || path.length > 255)
    throw wrong(/[A-Z]/.test(path) ? 'names must be lower case' : `${JSON.stringify(path)} is not a name`);
  if (tag !== undefined && !tagForm.test(tag)) throw wrong(`${JSON.stringify(tag)} is not a tag`);
  const registry = host.toLowerCase() === 'index.docker.io' ? 'docker.io' : host.toLowerCase();
  return {
    registry,
    repository: registry === 'docker.io' && !path.includes('/') ? `library/${path}` : path,
    tag: tag ?? (digest === undefined ? 'latest' : undefined),
    digest,
  };
}

/** Docker Hub's names for itself. */
export const dockerHubHosts: readonly string[] = ['index.docker.io', 'docker.io', 'registry-1.docker.io'];

/** The full form, without defaults. */
export function formatReference({ registry, repository, tag, digest }: ImageReference): string {
  return `${registry}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

/**
 * The canonical form of a name: `docker.io/library/busybox:latest`, or `NAME@sha256:…`. A tag beside a digest proves nothing
 * and kubelet looks such an image up by its digest, so it is dropped. Throws `usage` for what is not a reference.
 */
export function canonicalReference(text: string): string {
  const parsed = parseReference(text);
  return formatReference(parsed.digest ? { ...parsed, tag: undefined } : parsed);
}

/**
 * The registry API of this repository: `https://HOST/v2/NAME`. Docker Hub serves it under a different host name than the one
 * in image names. Plain HTTP is used only on this machine.
 */
export function repositoryUrl({ registry, repository }: ImageReference): string {
  const host = registry === 'docker.io' ? 'registry-1.docker.io' : registry;
  const scheme = isLoopback(host.replace(/:\d+$/, '')) ? 'http' : 'https';
  return `${scheme}://${host}/v2/${repository}`;
}

/**
 * `--insecure-registry HOST[:PORT]` for a transport: it uses plain HTTP for these hosts. URLs in locks and messages do not
 * change. Throws `usage` for a value that is not a host.
 */
export function insecureHosts(hosts: readonly string[]): Record<string, string> {
  for (const host of hosts)
    if (!hostForm.test(host))
      throw new KinaError('usage', `--insecure-registry ${host}: expected HOST or HOST:PORT`, {
        hint: 'Only the host, without scheme and path: registry.example.org:5000.',
      });
  return Object.fromEntries(hosts.map((host) => [host.toLowerCase(), `http://${host.toLowerCase()}`]));
}
