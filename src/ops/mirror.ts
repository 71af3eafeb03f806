/**
 * `kina mirror create`: copies everything that a lock pins into a folder for `--mirror` and `--debian-mirror`, for networks
 * without internet access.
 *
 *     https://HOST/PATH            DIR/HOST/PATH           (registries too: DIR/registry.k8s.io/v2/pause/blobs/sha256:…)
 *     debian:ARCHIVE/PATH          DIR/ARCHIVE/PATH        (DIR/debian/pool/…, DIR/debian-security/pool/…)
 *     the lock                     DIR/kina.lock           (under its own name)
 *
 * A locked build reads no indexes, markers and checksum files, so the mirror has none: the lock verifies everything. Bytes
 * are hashed on the way from the store into the folder and get their names when they are complete and correct. Existing
 * files are hashed and kept, so the command can be repeated after an interruption, and several locks can share a folder.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import pLimit from 'p-limit';
import { type Artifact, debianPool } from '../artifacts/artifact.ts';
import { type Lock, lockedArtifacts } from '../build/lock.ts';
import { readLock } from '../build/lock-file.ts';
import { KinaError } from '../host/errors.ts';
import { atomicWrite, explainDiskFull, uniqueSuffix } from '../host/files.ts';
import { redact } from '../host/http-route.ts';
import type { Session } from '../session/session.ts';

export interface MirrorResult {
  /** Absolute path of the mirror. */
  readonly directory: string;
  /** Path of the copied lock. */
  readonly lock: string;
  /** All files that the lock needs, except the lock itself. */
  readonly files: number;
  readonly bytes: number;
  /** How many of them were missing or damaged. */
  readonly written: number;
  /** Their Debian archives, e.g. `debian`: each needs a base URL. */
  readonly archives: readonly string[];
}

interface MirrorFile {
  readonly artifact: Artifact;
  /** Relative to the mirror. */
  readonly path: string;
}

/**
 * Throws `lock` if the lock pins something that a mirror cannot hold, before anything is fetched; otherwise like the
 * fetcher, and `disk-full`.
 */
export async function createMirror(lockFile: string, folder: string, tools: Session): Promise<MirrorResult> {
  const lock = await readLock(lockFile);
  const files = mirrorFiles(lock, lockFile);
  const directory = resolve(folder);
  await mkdir(directory, { recursive: true });
  const missing: MirrorFile[] = [];
  const limit = pLimit(8);
  await Promise.all(
    files.map((file) =>
      limit(async () => {
        if (!(await isRight(join(directory, file.path), file.artifact))) missing.push(file);
      }),
    ),
  );
  tools.signal?.throwIfAborted();
  tools.reporter.expect('fetch', missing.length, total(missing));
  await tools.fetcher.fetchAll(missing.map((f) => f.artifact));
  for (const file of missing) {
    tools.signal?.throwIfAborted();
    await copyOut(file, directory, tools);
  }
  // Last: a folder with the lock is complete.
  const copy = join(directory, basename(lockFile));
  if (resolve(lockFile) !== copy) await atomicWrite(copy, await readFile(lockFile));
  return {
    directory,
    lock: copy,
    files: files.length,
    bytes: total(files),
    written: missing.length,
    archives: [...new Set(files.flatMap((f) => debianPool(f.artifact)?.archive ?? []))].sort(),
  };
}

function total(files: readonly MirrorFile[]): number {
  return files.reduce((sum, f) => sum + f.artifact.size, 0);
}

/** The artifacts of all platforms, each path once. */
function mirrorFiles(lock: Lock, lockFile: string): MirrorFile[] {
  const places = new Map<string, MirrorFile>();
  const problems: string[] = [];
  for (const artifact of lockedArtifacts(lock)) {
    const path = mirrorPath(artifact);
    const there = path === undefined ? undefined : places.get(path);
    if (path === undefined) problems.push(`${artifact.name}: ${redact(artifact.url)}`);
    else if (there && there.artifact.digest !== artifact.digest)
      problems.push(`${artifact.name} and ${there.artifact.name}: different files for the same path, ${path}`);
    else places.set(path, { artifact, path });
  }
  if (problems.length > 0)
    throw new KinaError('lock', `${lockFile} pins artifacts that a mirror cannot hold`, {
      details: [...new Set(problems)],
      hint: 'A mirror can replace only https servers and Debian archives. Use https URLs in the recipe instead of local files and http servers.',
    });
  return [...places.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

/**
 * The file name, below a mirror's base, where the transport looks for a URL. Percent escapes are decoded, as servers and
 * `file:` URLs do. Undefined for URLs that a mirror cannot hold, and for names that would leave the folder.
 */
export function mirrorPath(artifact: Artifact): string | undefined {
  const pool = debianPool(artifact);
  const parsed = URL.canParse(artifact.url) ? new URL(artifact.url) : undefined;
  if (!pool && parsed?.protocol !== 'https:') return undefined;
  const path = pool ? `${pool.archive}/${pool.path}` : `${parsed?.host}${parsed?.pathname}`;
  try {
    const parts = path.split('/').map(decodeURIComponent);
    return parts.some((p) => p === '' || p.startsWith('.') || /[/\\\0]/.test(p)) ? undefined : parts.join('/');
  } catch {
    return undefined;
  }
}

async function isRight(path: string, { size, digest }: Artifact): Promise<boolean> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isFile() || found.size !== size) return false;
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return `sha256:${hash.digest('hex')}` === digest;
}

/** `verified` throws after the last byte if the store's copy is damaged; then nothing is renamed. */
async function copyOut({ artifact, path }: MirrorFile, directory: string, { store, reporter }: Session): Promise<void> {
  const destination = join(directory, path);
  const temporary = join(dirname(destination), `.${uniqueSuffix()}.tmp`);
  const task = reporter.task('output', path);
  let handle: FileHandle | undefined;
  try {
    await mkdir(dirname(destination), { recursive: true });
    handle = await open(temporary, 'wx', 0o644);
    let done = 0;
    for await (const chunk of store.verified(artifact.digest, artifact.size)) {
      await handle.appendFile(chunk);
      done += chunk.length;
      task.progress(done, artifact.size);
    }
    await handle.sync();
    await handle.close();
    handle = undefined;
    await rename(temporary, destination);
    task.done();
  } catch (error) {
    task.fail();
    await handle?.close().catch(() => {});
    await rm(temporary, { force: true });
    explainDiskFull(error, destination);
  }
}
