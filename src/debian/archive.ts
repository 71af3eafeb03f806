/**
 * Locations of Debian archives: recipes and locks use names, only this file knows base URLs.
 *
 * A lock must outlive mirrors, so a Debian artifact is called `debian:ARCHIVE/PATH`, e.g.
 * `debian:debian/pool/main/b/bash/bash_5.2.37-2+b5_amd64.deb`. The base URL comes from the first of: an override, the
 * environment, this machine's apt sources, Debian's own servers. The files are signed, so any server and plain HTTP will
 * do.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno, KinaError } from '../host/errors.ts';
import { parseStanzas } from './deb822.ts';

/** One suite of one archive, as in a recipe. */
export interface ArchiveSpec {
  /** `debian` or `debian-security`. */
  readonly archive: string;
  /** Suite or codename, as in the URL: `trixie`, `trixie-updates`, `stable`. */
  readonly suite: string;
  readonly components: readonly string[];
  /** Absolute path of an OpenPGP keyring, armored or binary. */
  readonly keyring: string;
  /** Accept an expired index, for frozen mirrors. Default: refuse it. */
  readonly checkValidUntil?: boolean;
  /** Priority of the suite's packages, like apt's pins: higher wins. Default 500. */
  readonly priority?: number;
}

/** Base URL by archive name, without a trailing slash. */
export type ArchiveBases = Readonly<Record<string, string>>;

const own: ArchiveBases = {
  debian: 'http://ftp.debian.org/debian',
  'debian-security': 'http://security.debian.org/debian-security',
};

/** The default base URLs: apt's sources on Debian, otherwise Debian's servers. `etc/apt` is read below `root`. */
export async function defaultBases(root = '/'): Promise<ArchiveBases> {
  return { ...own, ...(await aptBases(root)) };
}

/** Validates a base URL; `from` names the flag, variable or key that it comes from. */
export function checkedBase(value: string, from: string): string {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (!url || !/^(https?|file):$/.test(url.protocol))
    throw new KinaError('usage', `${from} is not an http, https or file URL: ${JSON.stringify(value)}`, {
      hint: 'Use the URL of the folder that contains dists/ and pool/, e.g. http://ftp.debian.org/debian.',
    });
  return value.replace(/\/+$/, '');
}

/** The artifact URL of a path in an archive. */
export function archivePath(archive: string, path: string): string {
  return `debian:${archive}/${path}`;
}

/** Maps `debian:` URLs for the transport: each archive's prefix and its base URL. */
export function archivePrefixes(bases: ArchiveBases): Record<string, string> {
  return Object.fromEntries(Object.entries(bases).map(([name, base]) => [archivePath(name, ''), `${base}/`]));
}

/** Throws `recipe` for an unknown archive. */
export function checkArchive(archive: string, bases: ArchiveBases): void {
  if (bases[archive]) return;
  throw new KinaError('recipe', `unknown Debian archive ${JSON.stringify(archive)}`, {
    hint: `Known archives: ${Object.keys(bases).sort().join(', ')}.`,
  });
}

/** snapshot.debian.org keeps deleted files. Half a day after the signed index, its import is certain to have run. */
export function snapshotUrl(archive: string, path: string, released: Date): string {
  const at = new Date(released.getTime() + 12 * 3600 * 1000);
  const stamp = `${at.toISOString().slice(0, 19).replace(/[-:]/g, '')}Z`;
  return `https://snapshot.debian.org/archive/${archive}/${stamp}/${encodeURI(path)}`;
}

/** Base URLs from apt's sources: one-line `.list` and deb822 `.sources` (sources.list(5)). */
async function aptBases(root: string): Promise<Record<string, string>> {
  const apt = join(root, 'etc/apt');
  const parts = (await listDirectory(join(apt, 'sources.list.d'))).map((name) => join(apt, 'sources.list.d', name));
  const bases: Record<string, string> = {};
  for (const path of [join(apt, 'sources.list'), ...parts]) {
    if (!path.endsWith('.list') && !path.endsWith('.sources')) continue;
    const text = await readText(path);
    for (const uri of path.endsWith('.sources') ? deb822Uris(text, path) : oneLineUris(text)) {
      const archive = /^https?:\/\/.+\/(debian|debian-security)\/*$/.exec(uri)?.[1];
      if (archive) bases[archive] ??= uri.replace(/\/+$/, '');
    }
  }
  return bases;
}

function oneLineUris(text: string): string[] {
  const uris: string[] = [];
  for (const line of text.split('\n')) {
    const match = /^\s*deb\s+(?:\[[^\]]*\]\s*)?(\S+)\s+\S+/.exec(line.replace(/#.*/, ''));
    if (match) uris.push(match[1] as string);
  }
  return uris;
}

/** A broken source list is left for apt to report; kina then uses Debian's own servers. */
function deb822Uris(text: string, path: string): string[] {
  try {
    return parseStanzas(text, path)
      .filter((stanza) => !/^(no|false|without|off|disable|0)$/i.test(stanza.get('enabled') ?? 'yes'))
      .filter((stanza) => (stanza.get('types') ?? '').split(/\s+/).includes('deb'))
      .flatMap((stanza) => (stanza.get('uris') ?? '').split(/\s+/));
  } catch (error) {
    if (error instanceof KinaError) return [];
    throw error;
  }
}

async function listDirectory(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).sort();
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'EACCES', 'ENOTDIR')) return [];
    throw error;
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'EACCES')) return '';
    throw error;
  }
}
