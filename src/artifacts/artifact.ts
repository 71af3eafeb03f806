/**
 * Files from outside, identified by their SHA-256.
 *
 * `url` is always the canonical upstream URL. Debian packages use `debian:` with the archive's name and the path in the
 * pool (`debian/archive.ts`). Mirrors are applied by the transport and never appear here.
 */
import { basename } from 'node:path';
import type { Digest } from '../oci/descriptor.ts';

/** A file to fetch. */
export interface RemoteFile {
  /** Short name for messages: `kubelet`, `systemd`. */
  readonly name: string;
  readonly url: string;
  /** Bytes. */
  readonly size: number;
  readonly digest: Digest;
  /** The source of the digest: a checksum file's URL, `OpenPGP`, `registry manifest`, or `none`. */
  readonly verifiedBy: string;
  /** URLs to try if `url` no longer has the file, for example at snapshot.debian.org. */
  readonly fallbacks?: readonly string[] | undefined;
  readonly version?: string | undefined;
  readonly type?: ArtifactType | undefined;
}

export const artifactTypes = [
  /** A Debian package. */
  'deb',
  /** A single file that is used as published. */
  'binary',
  /** A tar or zip archive, including image archives and server tarballs. */
  'archive',
  /** A package of an npm registry. */
  'npm',
  /** Parts of an image in a registry. */
  'manifest',
  'config',
  'layer',
  /** A local file, copied into the store. No server has it, so a lock with one works only with that store. */
  'local',
] as const;
export type ArtifactType = (typeof artifactTypes)[number];

/** A pin of a lock: a file and its type. */
export interface Artifact extends RemoteFile {
  readonly type: ArtifactType;
}

/** A file in the store: verified and immutable. */
export interface Fetched {
  readonly artifact: RemoteFile;
  /** Absolute path of the blob in the store. Never write to it. */
  readonly path: string;
}

/** The artifact for a file that was copied into the store. The lock records the file's name, not its path. */
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
