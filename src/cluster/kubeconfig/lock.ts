/**
 * client-go's lock: whoever creates `FILE.lock` exclusively owns FILE (tools/clientcmd/config.go, lockFile). kubectl
 * does not wait and never clears a lock that a killed process left; kina does both, and writes who it is into the file.
 *
 * - Waiting: looks again after a random pause, so that many waiters do not move in step, and gives up when one and the
 *   same holder keeps the lock for ten seconds. kubectl and kina need milliseconds.
 * - Stale: the holder is a kina of this machine that no longer runs, or the lock is more than a minute old. Process
 *   numbers mean something only within one boot and one PID namespace, and home folders are shared with containers; so
 *   both are part of what a lock says.
 * - Taking over: only under a second lock, `FILE.lock.stale`. Without it two waiters could both find the lock stale, and
 *   the slower one would remove the lock that the faster one has just made.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { lstat, open, readFile, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { isErrno, KinaError } from '../../host/errors.ts';
import { explainDiskFull, uniqueSuffix } from '../../host/files.ts';

const patienceMs = 10_000;
const staleMs = 60_000;
/** A kina that was killed between making its lock and writing into it; the two are microseconds apart. */
const unsignedMs = 2_000;
/** kubectl makes its locks with no rights at all. */
const lockMode = 0o600;

/**
 * Runs `body` while owning all of `files`, which may be other names of the same file. `token` is unique to this call and
 * names its temporary files (`temporaryName`). Throws `kubeconfig` when somebody else keeps a lock for `patience`
 * milliseconds, or when none can be made.
 */
export async function withLocks<T>(
  files: readonly string[],
  body: (token: string) => Promise<T>,
  patience = patienceMs,
): Promise<T> {
  const token = uniqueSuffix();
  const text = `${token} ${here()}\n`;
  const taken: string[] = [];
  try {
    // Always in the same order, as client-go does: two owners of one half each would wait for each other.
    for (const file of [...new Set(files)].sort()) if (await acquire(file, text, patience)) taken.push(lockOf(file));
    return await body(token);
  } finally {
    for (const lock of taken) if ((await inspect(lock))?.text === text) await rm(lock, { force: true }).catch(() => {});
  }
}

/** Where the new content of `file` is written before it takes the file's place. */
export function temporaryName(file: string, token: string): string {
  return `${file}.${token}.tmp`;
}

function lockOf(file: string): string {
  return `${file}.lock`;
}

/** False when this very call owns it already, under another name of the file. */
async function acquire(file: string, text: string, patience: number): Promise<boolean> {
  const lock = lockOf(file);
  let seen: Held | undefined;
  let since = Date.now();
  for (;;) {
    if (await create(lock, text)) return true;
    const held = await inspect(lock);
    if (held?.text === text) return false;
    if (held && isStale(held)) await clear(file, held);
    else if (held && held.id !== seen?.id) since = Date.now();
    else if (held && Date.now() - since > patience) throw busy(file, held);
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
    throw new KinaError('kubeconfig', `the lock ${lock} cannot be made: ${(error as Error).message}`, {
      hint: 'Make the folder writable, or name another file with --kubeconfig or KUBECONFIG.',
      cause: error,
    });
  }
}

interface Held {
  /** Changes when the lock changes hands. */
  readonly id: string;
  readonly ageMs: number;
  /** Empty for kubectl's, and for what may not be read. */
  readonly text: string;
  /** Made by kina, which writes who it is in the next instant, and has not. */
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

/** What `withLocks` writes: token, process, place. */
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

/** Removes a stale lock, unless somebody else does, and what its owner had begun to write. */
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
    // Another user's, in a folder where everybody may only remove their own.
    throw busy(file, stale);
  } finally {
    await rm(gate, { force: true });
  }
}

function busy(file: string, { ageMs, text }: Held): KinaError {
  const [, , pid] = ours.exec(text) ?? [];
  const who = pid === undefined ? 'another program' : `kina, process ${pid}`;
  return new KinaError('kubeconfig', `${file} is locked by ${who} since ${Math.round(ageMs / 1000)} s`, {
    hint: `Try again. If neither kubectl nor kina is running, remove ${lockOf(file)}.`,
  });
}

let place: string | undefined;

/** Where this process's number means something. */
function here(): string {
  try {
    place ??= `${readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()}/${readlinkSync('/proc/self/ns/pid')}`;
  } catch {
    place ??= encodeURIComponent(hostname());
  }
  return place;
}
