/** A real Debian mirror for the integration tests, through the room's own front door. */
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll } from 'vitest';
import type { Artifact, Fetched } from '../../../src/artifacts/artifact.ts';
import { type ArchiveSpec, archivePrefixes } from '../../../src/debian/archive.ts';
import type { ArchiveContext } from '../../../src/debian/index.ts';
import { openConnection } from '../../../src/session/connection.ts';

/** Indexes and packages: hundreds of megabytes. */
export const scratch = mkdtempSync(join(tmpdir(), 'kina-debian-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));
export const bases = (await openConnection({ environment: process.env, version: 'test' })).debianBases;

/** Why the mirror cannot be used, or undefined. */
export async function mirrorProblem(): Promise<string | undefined> {
  try {
    const answer = await fetch(`${bases.debian}/dists/trixie/InRelease`, {
      method: 'HEAD',
      signal: AbortSignal.timeout(10_000),
    });
    return answer.ok ? undefined : `the Debian mirror answers ${answer.status}`;
  } catch (error) {
    return `no Debian mirror: ${(error as Error).message}`;
  }
}

/** Fetches as a store would: once, verified, one file per digest. */
export const context: ArchiveContext & { fetchFile(artifact: Artifact): Promise<Fetched> } = {
  fetchBytes: async (url) => await download(url),
  fetchFile: async (artifact) => {
    const path = join(scratch, artifact.digest.slice(7));
    if (!existsSync(path)) {
      const bytes = await download(artifact.url);
      const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
      if (digest !== artifact.digest) throw new Error(`${artifact.url}: ${digest}`);
      writeFileSync(path, bytes);
    }
    return { artifact, path };
  },
};

async function download(url: string): Promise<Buffer> {
  const [prefix, base] = Object.entries(archivePrefixes(bases)).find(([p]) => url.startsWith(p))!;
  const answer = await fetch(base + encodeURI(url.slice(prefix.length)));
  if (!answer.ok) throw new Error(`${answer.status} for ${url}`);
  return Buffer.from(await answer.arrayBuffer());
}

export function archive(suite: string): ArchiveSpec {
  return {
    archive: 'debian',
    suite,
    components: ['main'],
    keyring: resolve('recipes/keys/debian-archive-keyring.pgp'),
    // A test mirror may be frozen.
    checkValidUntil: false,
  };
}

export const nodePackages = (
  'systemd systemd-sysv dbus conntrack iptables nftables iproute2 ethtool util-linux mount kmod libseccomp2 pigz ' +
  'nfs-common e2fsprogs bash dash ca-certificates curl jq procps findutils grep sed tar gzip coreutils'
).split(' ');
