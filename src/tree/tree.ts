/**
 * The virtual file system of an image.
 *
 * One tree holds the whole image and is split into layers afterwards, so directory attributes, conflicts and symbolic
 * links are resolved once, against everything. A path may go through a symbolic link of the tree (`bin/sh` where
 * `bin -> usr/bin`): it is stored under its real name, because Apple's unpacker loses entries whose parent is a link.
 */
import { posix } from 'node:path';
import { KinaError } from '../host/errors.ts';
import type { Content, DirectoryEntry, Entry, FileEntry } from './entry.ts';

/** Checks and normalizes an external path; throws `archive` for anything that could leave the tree. */
export function canonicalPath(raw: string, from: string): string {
  const path = raw.replace(/^(?:\.\/+)+/, '').replace(/\/+$/, '');
  if (path === '' || path === '.') return '';
  const problem = path.includes('\0')
    ? 'a NUL byte'
    : path.startsWith('/')
      ? 'an absolute path'
      : path.split('/').includes('..')
        ? 'a ".." segment'
        : undefined;
  if (problem)
    throw new KinaError('archive', `${from} contains ${problem}: ${JSON.stringify(raw)}`, {
      hint: 'The archive is malformed or malicious; none of it was used.',
    });
  return path
    .split('/')
    .filter((s) => s !== '' && s !== '.')
    .join('/');
}

export interface AddOptions {
  /** Replace entries of other owners; otherwise two different entries for one path are an error. */
  replace?: boolean;
}

export class Tree {
  readonly #entries = new Map<string, Entry>();

  get size(): number {
    return this.#entries.size;
  }

  get(path: string): Entry | undefined {
    return this.#entries.get(path);
  }

  has(path: string): boolean {
    return this.#entries.has(path);
  }

  delete(path: string): void {
    this.#entries.delete(path);
  }

  /** All entries, in no particular order. */
  values(): IterableIterator<Entry> {
    return this.#entries.values();
  }

  /** All entries sorted by the bytes of their paths, so that parents come before children. */
  sorted(): Entry[] {
    return [...this.#entries.values()].sort((a, b) => comparePaths(a.path, b.path));
  }

  /** Resolves symbolic links in the parents of `path`, so that the result is the real path. */
  realPath(path: string): string {
    return this.#resolve(path, false, 0);
  }

  /** The entry at `path`, with links in parents and in the last segment resolved; undefined if there is none. */
  lookup(path: string): Entry | undefined {
    return this.#entries.get(this.#resolve(path.replace(/^\/+/, ''), true, 0));
  }

  /** The file at `path`, with links resolved. */
  file(path: string): FileEntry | undefined {
    let found = this.lookup(path);
    if (found?.type === 'hardlink') found = this.#entries.get(found.target);
    return found?.type === 'file' ? found : undefined;
  }

  #resolve(path: string, followLast: boolean, depth: number): string {
    if (depth > 40) throw new KinaError('archive', `too many levels of symbolic links: ${path}`);
    if (/^\/|\/\/|\/$/.test(path)) return this.#resolve(joined(path), followLast, depth);
    for (let at = path.indexOf('/'); ; at = path.indexOf('/', at + 1)) {
      const last = at < 0;
      const reached = last ? path : path.slice(0, at);
      const entry = last && !followLast ? undefined : this.#entries.get(reached);
      if (entry?.type === 'symlink') {
        const target = resolveLink(posix.dirname(reached), entry.target);
        return this.#resolve(last ? target : joined(target, path.slice(at + 1)), followLast, depth + 1);
      }
      if (last) return path;
    }
  }

  /**
   * Adds an entry. Equal entries are fine, and so are two directories (the later attributes win); a directory at a
   * symbolic link to a directory keeps the link. Any other entry for an existing path is a `conflict` that names both
   * owners, unless `replace` is set.
   */
  add(entry: Entry, options: AddOptions = {}): void {
    const path = this.realPath(entry.path);
    const placed = this.#place(entry, path);
    const existing = this.#entries.get(path);
    // Also with `replace`: an overlay's `bin/` must not replace `bin -> usr/bin`.
    if (placed.type === 'directory' && existing?.type === 'symlink') {
      const behind = this.lookup(path);
      if (!behind || behind.type === 'directory') return;
    }
    if (existing && !options.replace) {
      if (!(placed.type === 'directory' && existing.type === 'directory') && !sameEntry(existing, placed))
        throw new KinaError('conflict', `two owners for /${path}: ${existing.owner} and ${placed.owner}`, {
          details: [`${existing.owner}: ${describe(existing)}`, `${placed.owner}: ${describe(placed)}`],
          hint: `Set \`replace: true\` on the step that should win, or exclude the file from one of them.`,
        });
      if (placed.type !== 'directory') return;
    }
    if (placed.type !== 'directory' && existing?.type === 'directory' && this.#hasChildren(path))
      throw new KinaError(
        'conflict',
        `/${path} is a non-empty directory (${existing.owner}), but ${placed.owner} has a ${placed.type}`,
      );
    this.#entries.set(path, placed);
  }

  /** The entry under its real path; the target of a hard link is resolved as well. */
  #place(entry: Entry, path: string): Entry {
    if (entry.type !== 'hardlink') return path === entry.path ? entry : { ...entry, path };
    const target = this.realPath(entry.target);
    return path === entry.path && target === entry.target ? entry : { ...entry, path, target };
  }

  #hasChildren(path: string): boolean {
    for (const key of this.#entries.keys()) if (key.startsWith(`${path}/`)) return true;
    return false;
  }

  merge(other: Tree, options: AddOptions = {}): void {
    for (const entry of other.sorted()) this.add(entry, options);
  }

  /** Adds missing parents: mode 0755, root. Throws `conflict` if a parent is a file. */
  addMissingParents(owner: string): void {
    for (const entry of [...this.#entries.values()]) {
      let parent = posix.dirname(entry.path);
      while (parent !== '.') {
        const existing = this.#entries.get(parent);
        if (existing && existing.type !== 'directory')
          throw new KinaError(
            'conflict',
            `/${parent} is a ${existing.type} (${existing.owner}), but ${entry.owner} puts /${entry.path} below it`,
          );
        if (!existing) this.#entries.set(parent, directory(parent, owner));
        parent = posix.dirname(parent);
      }
    }
  }
}

/** The tree-relative target of a link in folder `from`; links that climb above the root end at the root. */
export function resolveLink(from: string, target: string): string {
  const joined = target.startsWith('/') ? target : `/${from}/${target}`;
  return posix.normalize(joined).replace(/^\/+/, '').replace(/\/+$/, '');
}

/** The path without empty segments. */
function joined(...paths: string[]): string {
  return paths
    .flatMap((path) => path.split('/'))
    .filter((segment) => segment !== '')
    .join('/');
}

/** Compares UTF-8 bytes, not UTF-16 units and not by locale. */
export function comparePaths(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) {
      // The orders differ only here: a surrogate (U+10000 and up) sorts after U+E000..U+FFFF in UTF-8.
      const surrogateX = (x & 0xf800) === 0xd800;
      const surrogateY = (y & 0xf800) === 0xd800;
      if (surrogateX === surrogateY || x < 0xd800 || y < 0xd800) return x - y;
      return surrogateX ? 1 : -1;
    }
  }
  return a.length - b.length;
}

export function directory(path: string, owner: string, mode = 0o755, uid = 0, gid = 0): DirectoryEntry {
  return { type: 'directory', path, mode, uid, gid, owner };
}

export function file(path: string, content: Content, owner: string, mode = 0o644, uid = 0, gid = 0): FileEntry {
  return { type: 'file', path, content, mode, uid, gid, owner };
}

export function symlink(path: string, target: string, owner: string): Entry {
  return { type: 'symlink', path, target, mode: 0o777, uid: 0, gid: 0, owner };
}

function sameEntry(a: Entry, b: Entry): boolean {
  if (a.type !== b.type || a.mode !== b.mode || a.uid !== b.uid || a.gid !== b.gid) return false;
  if (!sameXattrs(a.xattrs, b.xattrs)) return false;
  if (a.type === 'file' && b.type === 'file') return a.content.key === b.content.key;
  if ('target' in a && 'target' in b) return a.target === b.target;
  return a.type === 'directory';
}

function sameXattrs(a: Entry['xattrs'], b: Entry['xattrs']): boolean {
  if ((a?.size ?? 0) !== (b?.size ?? 0)) return false;
  for (const [name, value] of a ?? []) {
    const other = b?.get(name);
    if (!other || Buffer.compare(value, other) !== 0) return false;
  }
  return true;
}

/** One line for messages: `file 0644 0:0 123 bytes`. */
export function describe(entry: Entry): string {
  const head = `${entry.type} ${entry.mode.toString(8).padStart(4, '0')} ${entry.uid}:${entry.gid}`;
  if (entry.type === 'file') return `${head} ${entry.content.size} bytes`;
  return 'target' in entry ? `${head} -> ${entry.target}` : head;
}
