/**
 * `/etc/ld.so.cache`: where the dynamic loader finds a soname. Byte for byte as written by `ldconfig` of glibc 2.32 and
 * later (format `glibc-ld.so.cache1.1`, elf/cache.c and sysdeps/generic/dl-cache.h): a test compares it with the output
 * of the real one for the same tree.
 *
 * Libraries in `glibc-hwcaps` folders are omitted, so the loader uses the baseline build of those libraries.
 */
import { posix } from 'node:path';
import { KinaError } from '../host/errors.ts';
import type { FileEntry } from '../tree/entry.ts';
import { readAll } from '../tree/entry.ts';
import { comparePaths, resolveLink, type Tree } from '../tree/tree.ts';

/** Facts about a shared library; undefined for anything that is not one for this architecture. */
export type ReadSoname = (file: FileEntry) => Promise<{ readonly soname: string | undefined } | undefined>;

export interface CacheOptions {
  readonly architecture: 'amd64' | 'arm64';
  /** Version of the package libc-bin, e.g. `2.41-12+deb13u1`: ldconfig writes its own version into the cache. */
  readonly libcVersion: string;
  readonly readSoname: ReadSoname;
}

/** sysdeps/…/ldconfig.h: FLAG_ELF_LIBC6 with FLAG_X8664_LIB64 or FLAG_AARCH64_LIB64. */
const flags = { amd64: 0x0303, arm64: 0x0a03 } as const;

/** Debian's multiarch triplets: the folders compiled into its ldconfig. */
const triplets = { amd64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' } as const;

interface Library {
  readonly soname: string;
  /** Absolute, in the folder's configured spelling. */
  readonly path: string;
}

/** The bytes of the cache. */
export async function ldCache(tree: Tree, options: CacheOptions): Promise<Buffer> {
  const libraries: Library[] = [];
  const seen = new Set<string>();
  const children = new Map<string, string[]>();
  for (const { path } of tree.values()) {
    const parent = posix.dirname(path);
    const siblings = children.get(parent);
    if (siblings) siblings.push(path.slice(parent.length + 1));
    else children.set(parent, [path.slice(parent.length + 1)]);
  }
  for (const folder of await libraryFolders(tree, options.architecture)) {
    const real = tree.lookup(folder)?.path;
    if (real === undefined || seen.has(real)) continue;
    seen.add(real);
    const names = (children.get(real) ?? []).sort(comparePaths);
    libraries.push(...(await scanFolder(tree, folder, real, names, options.readSoname)));
  }
  return encode(libraries, options);
}

/** `/etc/ld.so.conf` with its includes, then the folders compiled into Debian's ldconfig. */
async function libraryFolders(tree: Tree, architecture: 'amd64' | 'arm64'): Promise<string[]> {
  const folders = await readConf(tree, 'etc/ld.so.conf', 0);
  const triplet = triplets[architecture];
  return [...folders, `/lib/${triplet}`, `/usr/lib/${triplet}`, '/lib', '/usr/lib'];
}

async function readConf(tree: Tree, path: string, depth: number): Promise<string[]> {
  const found = tree.file(path);
  if (!found || depth > 8) return [];
  const folders: string[] = [];
  for (const raw of (await readAll(found.content, 1 << 20)).toString('utf8').split('\n')) {
    const line = raw.replace(/#.*/, '').trim();
    const include = /^include\s+(.+)$/.exec(line);
    if (include) {
      for (const pattern of (include[1] as string).split(/\s+/)) {
        const absolute = resolveLink(posix.dirname(path), pattern);
        for (const file of expandGlob(tree, absolute)) folders.push(...(await readConf(tree, file, depth + 1)));
      }
    } else if (line !== '' && !line.startsWith('hwcap')) {
      folders.push(...line.split(/[\s:,]+/).map((folder) => folder.replace(/=.*/, '').replace(/\/+$/, '')));
    }
  }
  return folders;
}

/** `*` is supported only in the last segment, as in Debian's own configuration. */
function expandGlob(tree: Tree, pattern: string): string[] {
  const folder = posix.dirname(pattern);
  const match = new RegExp(
    `^${posix
      .basename(pattern)
      .replace(/[.+^$()|[\]{}\\]/g, '\\$&')
      .replaceAll('*', '[^/]*')
      .replaceAll('?', '[^/]')}$`,
  );
  return [...tree.values()]
    .map((entry) => entry.path)
    .filter(
      (path) =>
        posix.dirname(path) === folder && match.test(posix.basename(path)) && !posix.basename(path).startsWith('.'),
    )
    .sort(comparePaths);
}

/** search_dir() of elf/ldconfig.c: one library per soname; links under their own name, otherwise the highest version. */
async function scanFolder(
  tree: Tree,
  folder: string,
  real: string,
  names: readonly string[],
  readSoname: ReadSoname,
): Promise<Library[]> {
  const found = new Map<string, { name: string; link: boolean }>();
  for (const name of names) {
    if (!/^(?:lib|ld-)/.test(name) && name !== 'ld.so') continue;
    if (!name.includes('.so') || /\.(?:dpkg-(?:new|tmp)|prelink#)/.test(name)) continue;
    const entry = tree.get(`${real}/${name}`);
    const file = tree.file(`${real}/${name}`);
    if (!entry || !file) continue;
    const library = await readSoname(file);
    if (!library) continue;
    let soname = library.soname ?? name;
    let link = entry.type === 'symlink';
    if (link) {
      // ldconfig treats a link whose name is not its target's soname as an ordinary library, unless it is the `.so` link
      // of the linker.
      const base = posix.basename(tree.lookup(`${real}/${name}`)?.path ?? name);
      if (name !== soname && base !== soname && !name.endsWith('.so')) link = false;
      else if (name.endsWith('.so') && name !== soname && soname.startsWith(name)) link = true;
      if (link && !(name.endsWith('.so') && soname.startsWith(name))) soname = name;
    }
    const known = found.get(soname);
    if (!known) found.set(soname, { name, link });
    else if ((!link && known.link) || (link === known.link && compareNames(known.name, name) < 0))
      found.set(soname, { name, link });
  }
  return [...found.keys()].map((soname) => ({ soname, path: `${folder}/${soname}` }));
}

/** _dl_cache_libcmp(): digits compare by value, after everything else. The loader searches in this order. */
export function compareNames(a: string, b: string): number {
  const digit = (code: number) => code >= 48 && code <= 57;
  let i = 0;
  let j = 0;
  while (i < a.length) {
    const x = a.charCodeAt(i);
    const y = j < b.length ? b.charCodeAt(j) : 0;
    if (digit(x) && digit(y)) {
      let m = 0;
      let n = 0;
      while (i < a.length && digit(a.charCodeAt(i))) m = m * 10 + a.charCodeAt(i++) - 48;
      while (j < b.length && digit(b.charCodeAt(j))) n = n * 10 + b.charCodeAt(j++) - 48;
      if (m !== n) return m - n;
    } else if (digit(x)) return 1;
    else if (digit(y)) return -1;
    else if (x !== y) return x - y;
    else {
      i++;
      j++;
    }
  }
  return j < b.length ? -b.charCodeAt(j) : 0;
}

const magic = 'glibc-ld.so.cache1.1';
const headerSize = 48;
const entrySize = 24;
const extensionMagic = 0xeaa42174;

function encode(libraries: readonly Library[], options: CacheOptions): Buffer {
  const version = /^(?:\d+:)?(\d+\.\d+)/.exec(options.libcVersion)?.[1];
  if (!version) throw new KinaError('debian', `not a glibc version: ${options.libcVersion}`);
  // Descending and stable: of equal names, the folder that was configured first wins.
  const sorted = [...libraries].sort((a, b) => compareNames(b.soname, a.soname));
  const strings = stringTable(sorted.flatMap((library) => [library.soname, library.path]));
  const stringsAt = headerSize + sorted.length * entrySize;
  const extensionAt = align4(stringsAt + strings.bytes.length);
  const generator = Buffer.from(
    `ldconfig (Debian GLIBC ${options.libcVersion}) stable release version ${version}`,
    'latin1',
  );
  const head = Buffer.alloc(stringsAt);
  head.write(magic, 'latin1');
  head.writeUInt32LE(sorted.length, 20);
  head.writeUInt32LE(strings.bytes.length, 24);
  head.writeUInt8(2, 28); // little-endian
  head.writeUInt32LE(extensionAt, 32);
  sorted.forEach((library, index) => {
    const at = headerSize + index * entrySize;
    head.writeUInt32LE(flags[options.architecture], at);
    head.writeUInt32LE(stringsAt + strings.offset(library.soname), at + 4);
    head.writeUInt32LE(stringsAt + strings.offset(library.path), at + 8);
  });
  const extension = Buffer.alloc(8 + 16);
  extension.writeUInt32LE(extensionMagic, 0);
  extension.writeUInt32LE(1, 4); // one section
  extension.writeUInt32LE(0, 8); // tag: generator
  extension.writeUInt32LE(0, 12); // flags
  extension.writeUInt32LE(extensionAt + extension.length, 16);
  extension.writeUInt32LE(generator.length, 20);
  const padding = Buffer.alloc(extensionAt - stringsAt - strings.bytes.length);
  return Buffer.concat([head, strings.bytes, padding, extension, generator]);
}

const align4 = (n: number) => (n + 3) & ~3;

/** elf/stringtable.c: strings in descending order of their reversed bytes, longer ones first, so that suffixes share bytes. */
function stringTable(strings: readonly string[]): { bytes: Buffer; offset(s: string): number } {
  const unique = [...new Set(strings)].map((s) => Buffer.from(s));
  unique.sort((a, b) => {
    for (let i = 1; i <= Math.min(a.length, b.length); i++) {
      const difference = (b[b.length - i] as number) - (a[a.length - i] as number);
      if (difference !== 0) return difference;
    }
    return b.length - a.length;
  });
  const offsets = new Map<string, number>();
  const parts: Buffer[] = [];
  let end = 0;
  let previous = Buffer.alloc(0);
  for (const string of unique) {
    const shared =
      previous.length >= string.length && previous.subarray(previous.length - string.length).equals(string);
    if (!shared) {
      parts.push(string, Buffer.alloc(1));
      end += string.length + 1;
      previous = string;
    }
    offsets.set(string.toString(), end - 1 - string.length);
  }
  return { bytes: Buffer.concat(parts), offset: (s) => offsets.get(s) as number };
}
