/**
 * Removes unused blobs: marks what named images are made of, and sweeps the rest.
 *
 * Builds may run at the same time; they hold no lock. Two things protect what they use. Each process leaves a file in `users/`
 * when it opens the store, and every `has` sets the access time of the blob; so anything used after the oldest living process
 * started is kept, with all options. Without `all`, a grace period of an hour covers processes that cannot be seen (on another
 * host, in another container) and keeps new blobs. A race remains between reading a time and removing the file; a build that
 * loses it fails with "build again", never with a wrong image.
 *
 * The least recently used blobs go first, so a limit (`keepStorage`) keeps what the next build is likely to use.
 */
import type { Dirent } from 'node:fs';
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno, KinaError } from '../../host/errors.ts';
import { type Digest, hexOf, isDigest } from '../descriptor.ts';
import { readContents } from '../image/contents.ts';
import { earliestUser, sweepTemporaries } from './leases.ts';
import type { Store } from './store.ts';

export interface PruneOptions {
  /** Also blobs used within the last hour, and uncompressed copies of the compressed layers of named images. */
  readonly all?: boolean;
  /** Stop when the store has at most this many bytes. */
  readonly keepStorage?: number;
  /** Consider only these blobs. */
  readonly only?: ReadonlySet<Digest>;
  /** Report what would be removed; remove nothing. */
  readonly dryRun?: boolean;
}

export interface PruneResult {
  readonly freedBytes: number;
  /** Blobs, unpacked folders, partial downloads and cache records removed. */
  readonly removed: number;
  /** Bytes that stay. */
  readonly keptBytes: number;
}

interface Thing {
  readonly path: string;
  readonly size: number;
  /** Milliseconds. */
  readonly lastUse: number;
  readonly kept: boolean;
}

const grace = 3600 * 1000;
/** The store's own folders. Every other folder belongs to a module, and its entries are swept by age. */
const ownFolders = ['blobs', 'refs', 'records', 'tmp', 'users'];

/** Throws `store` when a named image is damaged, because then its blobs are not known. */
export async function prune(store: Store, options: PruneOptions = {}): Promise<PruneResult> {
  const oldestUser = (await earliestUser(store.root)) ?? Number.POSITIVE_INFINITY;
  const usedBefore = Math.min(options.all ? Number.POSITIVE_INFINITY : Date.now() - grace, oldestUser);
  const keep = await marked(store, options.all ?? false);

  const things = [...(await blobs(store, keep, options.only)), ...(options.only ? [] : await roomEntries(store))];
  let total = things.reduce((sum, thing) => sum + thing.size, 0);
  let freedBytes = 0;
  let removed = 0;
  if (!options.dryRun) await sweepTemporaries(store.root);
  for (const thing of things.filter((t) => !t.kept && t.lastUse < usedBefore).sort((a, b) => a.lastUse - b.lastUse)) {
    if (options.keepStorage !== undefined && total <= options.keepStorage) break;
    if (!options.dryRun) await rm(thing.path, { recursive: true, force: true });
    total -= thing.size;
    freedBytes += thing.size;
    removed += 1;
  }
  if (options.keepStorage === undefined && !options.only)
    for (const record of await staleRecords(store, keep, usedBefore)) {
      if (!options.dryRun) await rm(record.path, { force: true });
      freedBytes += record.size;
      removed += 1;
    }
  return { freedBytes, removed, keptBytes: total };
}

/** Digests of everything that named images need, and of their uncompressed layers unless `minimum` is set. */
async function marked(store: Store, minimum: boolean): Promise<Set<Digest>> {
  const keep = new Set<Digest>();
  for (const { ref, descriptor } of await store.images()) {
    try {
      const { blobs, platforms } = await readContents(store, descriptor);
      for (const digest of blobs.keys()) keep.add(digest);
      if (!minimum) for (const { config } of platforms) for (const id of config.rootfs.diff_ids ?? []) keep.add(id);
    } catch (error) {
      if (!(error instanceof KinaError)) throw error;
      throw new KinaError('store', `nothing was removed: the image ${ref} is damaged`, {
        hint: `Build it again, or remove its name with \`kina image rm ${ref}\`.`,
        details: [error.message],
        cause: error,
      });
    }
  }
  return keep;
}

async function blobs(store: Store, keep: ReadonlySet<Digest>, only: ReadonlySet<Digest> | undefined): Promise<Thing[]> {
  const folder = join(store.root, 'blobs', 'sha256');
  const keptNames = new Set([...keep].map(hexOf));
  const things: Thing[] = [];
  for (const name of only ? [...only].map(hexOf) : await readdir(folder)) {
    const thing = await look(join(folder, name), 'accessed', keptNames.has(name));
    if (thing) things.push(thing);
  }
  return things;
}

async function roomEntries(store: Store): Promise<Thing[]> {
  const things: Thing[] = [];
  for (const folder of await folders(store.root, ownFolders))
    for (const name of await readdir(join(store.root, folder))) {
      const thing = await look(join(store.root, folder, name), 'modified');
      if (thing) things.push({ ...thing, size: await sizeOf(thing.path) });
    }
  return things;
}

/** Records that were not used lately and that name no blob that is kept. */
async function staleRecords(store: Store, keep: ReadonlySet<Digest>, usedBefore: number): Promise<Thing[]> {
  const stale: Thing[] = [];
  const root = join(store.root, 'records');
  for (const kind of await folders(root, []))
    for (const name of await readdir(join(root, kind))) {
      const record = await look(join(root, kind, name), 'modified');
      if (!record || record.lastUse >= usedBefore) continue;
      const text = await readFile(record.path, 'utf8').catch(() => '');
      const mentioned = text.match(/sha256:[0-9a-f]{64}/g) ?? [];
      if (!mentioned.some((digest) => isDigest(digest) && keep.has(digest))) stale.push(record);
    }
  return stale;
}

async function folders(root: string, except: readonly string[]): Promise<string[]> {
  const entries: Dirent[] = await readdir(root, { withFileTypes: true });
  return entries.filter((e) => e.isDirectory() && !except.includes(e.name)).map((e) => e.name);
}

/**
 * The last use of a blob is its access time, which `has` sets; its modification time is fixed. The last use of anything else is
 * its modification time, because listing it can change the access time (`relatime`).
 */
async function look(path: string, dated: 'accessed' | 'modified', kept = false): Promise<Thing | undefined> {
  try {
    const { size, atimeMs, mtimeMs } = await stat(path);
    return { path, size, lastUse: dated === 'accessed' ? atimeMs : mtimeMs, kept };
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined; // another process removed it
    throw error;
  }
}

async function sizeOf(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isDirectory()) return found?.size ?? 0;
  let sum = 0;
  for (const name of await readdir(path)) sum += await sizeOf(join(path, name));
  return sum;
}
