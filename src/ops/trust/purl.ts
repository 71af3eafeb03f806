/** Identifiers for scanners: package URLs (github.com/package-url/purl-spec) and public URLs. */
import { type Artifact, debianPool } from '../../artifacts/artifact.ts';
import { redact } from '../../host/http-route.ts';
import type { InventoryItem } from './item.ts';

/** Undefined if there is no type for it and no URL. */
export function purlOf({ kind, name, version, architecture, url, sha256 }: InventoryItem): string | undefined {
  const at = version === undefined ? '' : `@${encodeURIComponent(version)}`;
  if (kind === 'debian') return `pkg:deb/debian/${encodeURIComponent(name)}${at}?arch=${architecture}`;
  if (kind === 'image') {
    const last = name.slice(name.lastIndexOf('/') + 1);
    const tag = version === undefined ? '' : `&tag=${encodeURIComponent(version)}`;
    return `pkg:oci/${last}@sha256%3A${sha256}?repository_url=${encodeURIComponent(name)}${tag}`;
  }
  if (kind === 'npm') return npmPackage(name, at);
  const qualifiers = [
    ...(sha256 === undefined ? [] : [`checksum=sha256:${sha256}`]),
    ...(url === undefined ? [] : [`download_url=${encodeURIComponent(url)}`]),
  ];
  return `pkg:generic/${encodeURIComponent(name)}${at}${qualifiers.length ? `?${qualifiers.join('&')}` : ''}`;
}

/** The scope is the namespace. */
function npmPackage(name: string, at: string): string {
  return `pkg:npm/${name.split('/').map(encodeURIComponent).join('/')}${at}`;
}

const debianServers: Readonly<Record<string, string>> = {
  debian: 'http://ftp.debian.org/debian',
  'debian-security': 'http://security.debian.org/debian-security',
};

/** The URL without mirror and credentials. Local files have none. */
export function publicAddress(artifact: Artifact): string | undefined {
  const { type, url } = artifact;
  if (type === 'local' || url.startsWith('file:')) return undefined;
  const pool = debianPool(artifact);
  const server = pool && debianServers[pool.archive];
  return redact(server ? `${server}/${pool.path}` : url);
}

/** A UUID from a digest (RFC 9562, version 8): the same document has the same UUID. */
export function uuidOf(hex: string): string {
  const variant = ((Number.parseInt(hex[16] as string, 16) & 3) | 8).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-${variant}${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
