/** Atomic writes and the folders that kina uses. No domain words. */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { access, type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { Environment } from './environment.ts';
import { isErrno, KinaError } from './errors.ts';

/** A unique suffix for temporary files beside their destination. */
export function uniqueSuffix(): string {
  return `${process.pid}-${randomBytes(6).toString('hex')}`;
}

/** Turns "no space left" into an error that names the path and the remedy; rethrows anything else. */
export function explainDiskFull(error: unknown, path: string): never {
  if (isErrno(error, 'ENOSPC', 'EDQUOT'))
    throw new KinaError('disk-full', `no space left on device while writing ${path}`, {
      hint: 'Free disk space (for example with `kina cache prune`), or move the store with KINA_CACHE_DIR.',
      cause: error,
    });
  throw error;
}

/** Replaces `path` atomically: readers see the old or the new content, never a part, even after a crash. */
export async function atomicWrite(path: string, data: string | Uint8Array, mode = 0o644): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${uniqueSuffix()}.tmp`;
  let handle: FileHandle | undefined;
  try {
    handle = await open(temporary, 'wx', mode);
    await handle.writeFile(data);
    await handle.sync();
    await handle.close();
    handle = undefined;
    await rename(temporary, path);
  } catch (error) {
    await handle?.close().catch(() => {});
    await rm(temporary, { force: true });
    explainDiskFull(error, path);
  }
}

/**
 * Throws `usage` if `atomicWrite` would fail for `path`, so that this is reported before the work, not after it. `what`
 * names the file in messages, e.g. `lock`.
 */
export async function checkFileDestination(path: string, what: string): Promise<void> {
  const refuse = (reason: string, cause?: unknown) =>
    new KinaError('usage', `cannot write the ${what} ${path}: ${reason}`, { cause, hint: 'Choose a different file.' });
  const found = await stat(path).catch(() => undefined);
  if (found && !found.isFile()) throw refuse(found.isDirectory() ? 'it is a folder' : 'it is not a regular file');
  for (let folder = dirname(resolve(path)); ; folder = dirname(folder)) {
    try {
      if (!(await stat(folder)).isDirectory()) throw refuse(`${folder} is not a folder`);
      return await access(folder, constants.W_OK);
    } catch (error) {
      if (error instanceof KinaError) throw error;
      // Missing folders are created.
      if (!isErrno(error, 'ENOENT', 'ENOTDIR') || folder === dirname(folder))
        throw refuse((error as Error).message, error);
    }
  }
}

/** The store's folder: `KINA_CACHE_DIR`, else the platform's cache folder. */
export function cacheDirectory(env: Environment): string {
  if (env.KINA_CACHE_DIR) return env.KINA_CACHE_DIR;
  if (process.platform === 'darwin') return join(homedir(), 'Library', 'Caches', 'kina');
  return join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'kina');
}

/** The user's config file: `KINA_CONFIG`, else `kina/config.yaml` in the platform's config folder. */
export function configFile(env: Environment): string {
  if (env.KINA_CONFIG) return env.KINA_CONFIG;
  return join(env.XDG_CONFIG_HOME || join(homedir(), '.config'), 'kina', 'config.yaml');
}
