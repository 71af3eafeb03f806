/**
 * An artifact is one thing fetched from outside: what a lock pins and what the store holds under its SHA-256.
 *
 * `url` is always the canonical upstream address (or, for Debian, `debian:` plus archive name and pool path, see
 * `debian/archive.ts`); mirrors are a matter of the transport and never appear here.
 */

export type Digest = `sha256:${string}`;

export interface Artifact {
  /** Short name for people: `kubelet`, `systemd`. */
  readonly name: string;
  readonly version?: string;
  readonly url: string;
  /** Bytes. */
  readonly size: number;
  readonly digest: Digest;
  /** Where the digest came from: a checksum file's URL, `OpenPGP` with the signed index, `registry manifest`, or `none`. */
  readonly verifiedBy: string;
  /** Addresses to try when `url` no longer has it, e.g. snapshot.debian.org. */
  readonly fallbacks?: readonly string[];
}

/** Files of this machine that were copied into the store: `local:NAME`. No server has them, so a lock with one is only good with that store. */
export const LOCAL = 'local:';

/** An artifact in the store: its bytes, verified, as an immutable file. */
export interface Fetched {
  readonly artifact: Artifact;
  /** Absolute path of the blob in the store. Never write to it. */
  readonly path: string;
}
