/**
 * The lock of client-go: the process that creates `FILE.lock` owns FILE (tools/clientcmd/config.go, lockFile). kubectl does
 * not wait for a lock and never removes a stale one. kina does both, and writes its process ID into the lock.
 *
 * - Waiting: kina retries after a random pause, and gives up when the same holder has kept the lock for ten seconds. kubectl
 *   and kina need milliseconds.
 * - Stale locks: the holder is a kina process of this machine that has ended, or the lock is older than a minute. Process IDs
 *   are valid only within one boot and one PID namespace, and home directories are shared with containers, so a lock
 *   contains both.
 * - Removing a stale lock needs a second lock, `FILE.lock.stale`. Otherwise two waiters could find the lock stale, and the
 *   slower one would remove the new lock of the faster one.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { lstat, open, readFile, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { isErrno, KinaError } from '../../host/errors.ts';
import { explainDiskFull, uniqueSuffix } from '../../host/files.ts';

const timeoutMs = 10_000;
const staleMs = 60_000;
/** For a process that was killed between creating the lock and writing to it, which takes microseconds. */
const unsignedMs = 2_000;
/** kubectl creates its locks with mode 0. */
const lockMode = 0o600;

/**
 * Runs `body` while holding the locks of all `files`, which may be names of the same file. `token` is unique to this call
 * and part of its temporary files (`temporaryName`). Throws `kubeconfig` when another process keeps a lock for `timeout`
 * milliseconds, or when a lock cannot be created.
 */
export async function withLocks<T>(
  files: readonly string[],
  body: (token: string) => Promise<T>,
  timeout = timeoutMs,
): Promise<T> {
  const token = uniqueSuffix();
  const text = `${token} ${here()}\n`;
  const taken: string[] = [];
  try {
    // Always in the same order, as in client-go, to prevent a deadlock.
    for (const file of [...new Set(files)].sort()) if (await acquire(file, text, timeout)) taken.push(lockOf(file));
    return await body(token);
  } finally {
    for (const lock of taken) if ((await inspect(lock))?.text === text) await rm(lock, { force: true }).catch(() => {});
  }
}

/** The new content of `file` is written here and renamed. */
export function temporaryName(file: string, token: string): string {
  return `${file}.${token}.tmp`;
}

function lockOf(file: string): string {
  return `${file}.lock`;
}

/** False if this call already holds the lock, under another name of the file. */
async function acquire(file: string, text: string, timeout: number): Promise<boolean> {
  const lock = lockOf(file);
  let seen: Held | undefined;
  let since = Date.now();
  for (;;) {
    if (await create(lock, text)) return true;
    const held = await inspect(lock);
    if (held?.text === text) return false;
    if (held && isStale(held)) await clear(file, held);
    else if (held && held.id !== seen?.id) since = Date.now();
    else if (held && Date.now() - since > timeout) throw busy(file, held);
    seen = held ?? seen;
    await sleep(5 + Math.random() * 40);
  }
}

async function create(lock: string, text: string): Promise<boolean> {
  try {
    const handle = await open(lock, 'wx', lockMode);
    try {
      await handle.writeFile(text);
    } catch (error) {
      await rm(lock, { force: true });
      explainDiskFull(error, lock);
    } finally {
      await handle.close();
    }
    return true;
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return false;
    if (error instanceof KinaError) throw error;
    throw new KinaError('kubeconfig', `cannot create the lock ${lock}: ${(error as Error).message}`, {
      hint: 'Make the folder writable, or use another file with --kubeconfig or KUBECONFIG.',
      cause: error,
    });
  }
}

interface Held {
  /** Differs for each holder. */
  readonly id: string;
  readonly ageMs: number;
  /** Empty for locks of kubectl and unreadable files. */
  readonly text: string;
  /** Created by kina, but not written yet. */
  readonly unsigned: boolean;
}

async function inspect(lock: string): Promise<Held | undefined> {
  try {
    const { ino, mode, mtimeMs, ctimeMs } = await lstat(lock);
    const text = await readFile(lock, 'utf8').catch(() => '');
    const unsigned = text === '' && (mode & 0o777) === lockMode;
    return { id: `${ino} ${ctimeMs} ${text}`, ageMs: Date.now() - mtimeMs, text, unsigned };
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  }
}

/** The content of a lock of kina: token, process ID, namespace. */
const ours = /^((\d+)-[0-9a-f]{12}) (\S+)\n$/;

function isStale({ ageMs, text, unsigned }: Held): boolean {
  if (ageMs > staleMs || (unsigned && ageMs > unsignedMs)) return true;
  const [, , pid, place] = ours.exec(text) ?? [];
  if (pid === undefined || place !== here()) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return isErrno(error, 'ESRCH');
  }
}

/** Removes a stale lock and the temporary file of its holder, unless another process is doing that. */
async function clear(file: string, stale: Held): Promise<void> {
  const gate = `${lockOf(file)}.stale`;
  if (!(await create(gate, ''))) {
    const other = await inspect(gate);
    if (other && other.ageMs > staleMs) await rm(gate, { force: true });
    return;
  }
  try {
    if ((await inspect(lockOf(file)))?.id !== stale.id) return;
    const [, token] = ours.exec(stale.text) ?? [];
    if (token) await rm(temporaryName(file, token), { force: true });
    await rm(lockOf(file), { force: true });
  } catch {
    // The lock of another user, in a folder with the sticky bit.
    throw busy(file, stale);
  } finally {
    await rm(gate, { force: true });
  }
}

function busy(file: string, { ageMs, text }: Held): KinaError {
  const [, , pid] = ours.exec(text) ?? [];
  const holder = pid === undefined ? 'another program' : `kina (process ${pid})`;
  return new KinaError('kubeconfig', `${file} has been locked by ${holder} for ${Math.round(ageMs / 1000)} s`, {
    hint: `Try again. If kubectl and kina are not running, remove ${lockOf(file)}.`,
  });
}

let place: string | undefined;

/** Identifies the boot and the PID namespace of this process. */
function here(): string {
  try {
    place ??= `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}/${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    place ??= encodeURIComponent(hostname());
  }
  return place;
}
