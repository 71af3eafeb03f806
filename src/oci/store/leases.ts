/**
 * The processes that have the store open. With them, leftovers of dead processes can be removed, and `prune` keeps what a running
 * build uses.
 *
 * Names contain the host, because containers that share a store have the same process numbers: only a process of this host can
 * be found dead; files of other hosts count as alive until they are a day old.
 */
import { createHash } from 'node:crypto';
import { open, readdir, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { isErrno } from '../../host/errors.ts';
import { uniqueSuffix } from '../../host/files.ts';

const day = 24 * 3600 * 1000;

/** HOST-PID-RANDOM: a name in `tmp/` that identifies the writer. */
export function temporaryName(): string {
  return `${hostMark()}-${uniqueSuffix()}`;
}

/** Registers this process as a user of the store. An existing file with the same number is older and stays. */
export async function registerUser(root: string): Promise<void> {
  try {
    await (await open(join(root, 'users', `${hostMark()}-${process.pid}`), 'wx')).close();
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
  }
}

/** Removes temporary files of dead writers, and old leftovers of atomic writes, which do not have the host in their names. */
export async function sweepTemporaries(root: string): Promise<void> {
  for (const name of await readdir(join(root, 'tmp'))) {
    const path = join(root, 'tmp', name);
    if (!(await isAlive(name, path))) await rm(path, { recursive: true, force: true });
  }
  for (const folder of [root, join(root, 'refs')])
    for (const name of (await readdir(folder)).filter((one) => one.endsWith('.tmp'))) {
      const path = join(folder, name);
      if (Date.now() - ((await modified(path)) ?? 0) > day) await rm(path, { force: true });
    }
}

/** A name beside a destination outside the store, for a file or folder that is renamed when it is whole. */
export function temporaryBeside(path: string): string {
  return `${path}.${temporaryName()}.tmp`;
}

/** Removes what dead processes left at `temporaryBeside(path)`, for all of `paths`, which are in one folder. */
export async function sweepBeside(...paths: readonly string[]): Promise<void> {
  const folder = dirname(paths[0] ?? '.');
  const bases = new Set(paths.map((path) => basename(path)));
  const names = await readdir(folder).catch((): string[] => []);
  for (const name of names) {
    // Exactly kina's own pattern, because this folder has other files too.
    const [, base = '', writer = ''] = /^(.+)\.([0-9a-f]{8}-\d+-[0-9a-f]{12})\.tmp$/s.exec(name) ?? [];
    const path = join(folder, name);
    if (bases.has(base) && !(await isAlive(writer, path))) await rm(path, { recursive: true, force: true });
  }
}

/** The time when the oldest other process opened the store, in milliseconds; undefined when there is none. */
export async function earliestUser(root: string): Promise<number | undefined> {
  const own = `${hostMark()}-${process.pid}`;
  let earliest: number | undefined;
  for (const name of await readdir(join(root, 'users'))) {
    if (name === own) continue;
    const path = join(root, 'users', name);
    if (!(await isAlive(name, path))) {
      await rm(path, { force: true });
      continue;
    }
    const since = await modified(path);
    if (since !== undefined) earliest = Math.min(earliest ?? since, since);
  }
  return earliest;
}

/** Whether the process that named a file with `temporaryName` may still be writing it; `path` is the file. */
export async function isAlive(name: string, path: string): Promise<boolean> {
  const [host, pid] = name.split('-');
  if (host === hostMark()) return processExists(Number(pid));
  return Date.now() - ((await modified(path)) ?? 0) < day;
}

async function modified(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.mtimeMs;
}

function processExists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return isErrno(error, 'EPERM');
  }
}

function hostMark(): string {
  return createHash('sha256').update(hostname()).digest('hex').slice(0, 8);
}
