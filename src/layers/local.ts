/**
 * Local files that a recipe names relative to itself. They are read twice, once for the digest that pins them and once into the
 * tree; the digests are compared, so a change in between is noticed.
 *
 * Only "executable or not" is taken from the local mode. The rest depends on umask, checkout and file system.
 */
import { createReadStream, type Stats } from 'node:fs';
import { lstat, readdir, readFile, readlink } from 'node:fs/promises';
import { join, resolve, sep } from 'node:path';
import { isErrno, KinaError } from '../host/errors.ts';
import { digestOf, sha256 } from '../host/json.ts';
import type { Digest } from '../oci/descriptor.ts';
import { hashStream } from '../oci/hash.ts';

export type LocalEntry =
  | { readonly path: string; readonly type: 'file'; readonly executable: boolean; readonly data: Buffer }
  | { readonly path: string; readonly type: 'directory' }
  | { readonly path: string; readonly type: 'symlink'; readonly target: string };

/** The absolute path of a path in a recipe. */
export function localPath(recipeFolder: string, path: string): string {
  return resolve(recipeFolder, path);
}

export async function readLocalFile(
  recipeFolder: string,
  path: string,
): Promise<{ data: Buffer; executable: boolean }> {
  const absolute = localPath(recipeFolder, path);
  try {
    const info = await lstat(absolute).then((s) => (s.isSymbolicLink() ? undefined : s));
    const data = await readFile(absolute);
    return { data, executable: info !== undefined && (info.mode & 0o100) !== 0 };
  } catch (error) {
    throw missing(error, absolute);
  }
}

/** The digest of a file of any size. */
export async function localDigest(recipeFolder: string, path: string): Promise<Digest> {
  const absolute = localPath(recipeFolder, path);
  try {
    return (await hashStream(createReadStream(absolute, { highWaterMark: 1 << 20 }))).digest;
  } catch (error) {
    throw missing(error, absolute);
  }
}

/** A folder's files in byte order of their names; sockets, devices and FIFOs are refused. */
export async function readLocalFolder(recipeFolder: string, path: string): Promise<LocalEntry[]> {
  const root = localPath(recipeFolder, path);
  const found: LocalEntry[] = [];
  const walk = async (folder: string, prefix: string): Promise<void> => {
    const names = await readdir(folder).catch((error) => {
      throw missing(error, folder);
    });
    for (const name of names.sort()) {
      const absolute = join(folder, name);
      const relative = prefix === '' ? name : `${prefix}/${name}`;
      const info: Stats = await lstat(absolute);
      if (info.isSymbolicLink()) found.push({ path: relative, type: 'symlink', target: await readlink(absolute) });
      else if (info.isDirectory()) {
        found.push({ path: relative, type: 'directory' });
        await walk(absolute, relative);
      } else if (info.isFile())
        found.push({
          path: relative,
          type: 'file',
          executable: (info.mode & 0o100) !== 0,
          data: await readFile(absolute),
        });
      else
        throw new KinaError('recipe', `${absolute} is neither a file, a folder nor a symbolic link`, {
          hint: 'Layers hold no devices, sockets or FIFOs; remove it from the folder.',
        });
    }
  };
  await walk(root.endsWith(sep) ? root.slice(0, -1) : root, '');
  return found;
}

export function folderDigest(entries: readonly LocalEntry[]): string {
  return digestOf(entries.map((e) => (e.type === 'file' ? { ...e, data: sha256(e.data) } : e)));
}

function missing(error: unknown, path: string): unknown {
  if (isErrno(error, 'ENOENT', 'ENOTDIR'))
    return new KinaError('recipe', `${path} does not exist`, {
      hint: 'Paths in a recipe are relative to the recipe file.',
      cause: error,
    });
  if (isErrno(error, 'EACCES', 'EPERM')) return new KinaError('recipe', `${path} cannot be read`, { cause: error });
  return error;
}
