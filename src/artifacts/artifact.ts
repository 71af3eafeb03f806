/**
 * Files from outside, named by their SHA-256.
 *
 * `url` is always the canonical upstream address. Packages of Debian have `debian:` plus the archive's name and the path in
 * the pool (`debian/archive.ts`). Mirrors are the transport's business and never appear here.
 */
import { basename } from 'node:path';

export type Digest = `sha256:${string}`;

/** A file to fetch. */
export interface RemoteFile {
  /** Short name for people: `kubelet`, `systemd`. */
  readonly name: string;
  readonly url: string;
  /** Bytes. */
  readonly size: number;
  readonly digest: Digest;
  /** Where the digest came from: a checksum file's URL, `OpenPGP`, `registry manifest`, or `none`. */
  readonly verifiedBy: string;
  /** Addresses to try when `url` no longer has it, for example at snapshot.debian.org. */
  readonly fallbacks?: readonly string[] | undefined;
  readonly version?: string | undefined;
  readonly type?: ArtifactType | undefined;
}

export const artifactTypes = [
  /** A Debian package. */
  'deb',
  /** A single file that is used as it was published. */
  'binary',
  /** A tar or zip with members, also an image archive or a server tarball. */
  'archive',
  /** A package of an npm registry. */
  'npm',
  /** Parts of an image in a registry. */
  'manifest',
  'config',
  'layer',
  /** A file of this machine, copied into the store. No server has it, so a lock with one works only with that store. */
  'local',
] as const;
export type ArtifactType = (typeof artifactTypes)[number];

/** What a lock pins: a file and what it is. */
export interface Artifact extends RemoteFile {
  readonly type: ArtifactType;
}

/** A file in the store: verified and immutable. */
export interface Fetched {
  readonly artifact: RemoteFile;
  /** Absolute path of the blob in the store. Never write to it. */
  readonly path: string;
}

/** The artifact for a file that was copied into the store. The lock gets the file's name, not its path. */
export function localArtifact(
  file: { readonly name: string; readonly path: string; readonly version?: string | undefined },
  { digest, size }: { readonly digest: Digest; readonly size: number },
): Artifact {
  const { name, version } = file;
  return {
    type: 'local',
    name,
    ...(version === undefined ? {} : { version }),
    url: `local:${basename(file.path)}`,
    size,
    digest,
    verifiedBy: 'local file',
  };
}

/** `debian-security` and `pool/…` of a Debian package; undefined for other artifacts. */
export function debianPool({ type, url }: RemoteFile): { readonly archive: string; readonly path: string } | undefined {
  if (type !== 'deb') return undefined;
  const [, archive = '', path = ''] = /^debian:([a-z0-9][a-z0-9.-]*)\/(.*)$/.exec(url) ?? [];
  return { archive, path };
}
