/**
 * The names of one archive while it is read, with tar's semantics: the last entry for a path wins, and a hard link is
 * another name of the file that had that path *then*, even if a later entry replaces it.
 */
import { posix } from 'node:path';
import { KinaError } from '../host/errors.ts';
import { comparePaths } from './tree.ts';

interface Attributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly xattrs?: ReadonlyMap<string, Uint8Array>;
}
/** The location of a file's bytes in the pack file, and their SHA-256 in hex. */
export interface PackSlice {
  readonly offset: number;
  readonly size: number;
  readonly sha256: string;
}
type Inode =
  /** `slice` is undefined if the file was not selected; `origin` is the path that carried the bytes. */
  | (Attributes & { readonly type: 'file'; readonly slice: PackSlice | undefined; readonly origin: string })
  | (Attributes & { readonly type: 'directory' })
  | (Attributes & { readonly type: 'symlink'; readonly target: string });

/** An entry as the unpack cache saves it: without the owner and the path of the pack file. */
export type SavedEntry = Attributes & { readonly path: string } & (
    | { readonly type: 'file'; readonly slice: PackSlice }
    | { readonly type: 'directory' }
    | { readonly type: 'symlink' | 'hardlink'; readonly target: string }
  );

export class ArchiveNames {
  readonly #names = new Map<string, Inode>();
  /** Hard links that precede their target; tar refuses them, but some writers create them. */
  readonly #forward = new Map<string, string>();
  readonly #from: string;

  constructor(from: string) {
    this.#from = from;
  }

  set(path: string, inode: Inode): void {
    this.#names.set(path, inode);
    this.#forward.delete(path);
  }

  link(path: string, target: string): void {
    const inode = this.#names.get(target);
    if (inode && inode.type !== 'directory' && path !== target) this.set(path, inode);
    else {
      this.#names.delete(path);
      this.#forward.set(path, target);
    }
  }

  /**
   * The selected entries, sorted, with hard links resolved: the selected name that sorts first becomes the file.
   * `missing` lists files whose bytes were not kept although a selected hard link needs them. Throws `archive` for links
   * and paths that dangle or leave the tree.
   */
  settle(select: (path: string) => boolean): { entries: SavedEntry[]; missing: string[] } {
    for (const path of this.#forward.keys()) this.#names.set(path, this.#linked(path));
    const first = new Map<Inode, string>();
    const missing = new Set<string>();
    const entries: SavedEntry[] = [];
    for (const path of [...this.#names.keys()].sort(comparePaths)) {
      this.#checkParents(path);
      if (!select(path)) continue;
      const inode = this.#names.get(path) as Inode;
      if (inode.type !== 'file') {
        entries.push({ path, ...inode });
        continue;
      }
      const { slice, origin, ...attributes } = inode;
      const holder = first.get(inode);
      if (holder !== undefined) entries.push({ path, ...attributes, type: 'hardlink', target: holder });
      else if (slice) entries.push({ path, ...attributes, slice });
      else missing.add(origin);
      if (holder === undefined) first.set(inode, path);
    }
    return { entries, missing: [...missing] };
  }

  #linked(path: string): Inode {
    let target = this.#forward.get(path) as string;
    for (let hops = 0; hops <= this.#forward.size; hops++) {
      const inode = this.#names.get(target);
      // A hard link to a directory would give the directory two parents.
      if (inode && inode.type !== 'directory') return inode;
      const next = this.#forward.get(target);
      if (inode || next === undefined) break;
      target = next;
    }
    throw this.#hostile(`${path} is a hard link to ${this.#forward.get(path)}, which is not a file in it`);
  }

  /** A path may go through a link of the same archive (`bin/sh` with `bin -> usr/bin`), but only within the tree. */
  #checkParents(path: string): void {
    for (let parent = posix.dirname(path); parent !== '.'; parent = posix.dirname(parent)) {
      const inode = this.#names.get(parent);
      if (inode?.type === 'file') throw this.#hostile(`${path} lies below ${parent}, which is a file`);
      if (inode?.type === 'symlink') {
        this.#follow(path);
        return;
      }
    }
  }

  #follow(path: string): void {
    let rest = path.split('/');
    let place: string[] = [];
    for (let hops = 0; rest.length > 1; ) {
      place.push(rest.shift() as string);
      const inode = this.#names.get(place.join('/'));
      if (inode?.type !== 'symlink') continue;
      const target = posix.normalize(posix.join(...place.slice(0, -1), inode.target));
      const leaves = inode.target.startsWith('/') || target === '..' || target.startsWith('../');
      if (leaves || ++hops > 40)
        throw this.#hostile(`${path} lies below ${place.join('/')}, a link to ${inode.target} outside of the archive`);
      rest = [...target.split('/').filter((part) => part !== '.'), ...rest];
      place = [];
    }
  }

  #hostile(what: string): KinaError {
    return new KinaError('archive', `${this.#from}: ${what}`, {
      hint: 'The archive is malformed or malicious; none of it was used.',
    });
  }
}
