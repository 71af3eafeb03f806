/**
 * What the store contains and why: every blob and every folder of other modules, its size, when it was last used, and the
 * images that need it. A named image needs its documents and layers; the records of the caches tell what other blobs are: a
 * download, or a layer that a later build may use.
 *
 * Damage is found by hashing. A damaged blob gets the current time: the store hashes every blob with an unexpected time, so
 * the next reader finds the damage, and the blob is fetched or built again.
 */
import { createReadStream, type Dirent } from 'node:fs';
import { readdir, readFile, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno, KinaError } from '../../host/errors.ts';
import type { Task } from '../../host/progress.ts';
import { type Digest, isDigest } from '../descriptor.ts';
import { hashStream } from '../hash.ts';
import { readContents } from '../image/contents.ts';
import { imageLayers } from '../image/history.ts';
import { nameOf } from '../image/select.ts';
import type { Store } from './store.ts';

export interface Holding {
  /** Relative to the store. */
  readonly path: string;
  /** `image` (a named image needs it), `layer`, `artifact` and `other` for blobs, else the folder: `unpacked`, `partial`. */
  readonly kind: string;
  /** Bytes, everything below included. */
  readonly size: number;
  /** ISO time. */
  readonly lastUse: string;
  /** An artifact's URL, a layer's name; undefined when it is not known. */
  readonly what: string | undefined;
  /** Names of images that need it. */
  readonly usedBy: readonly string[];
}

/** Everything, the largest first. Damaged images are ignored. */
export async function listHoldings(store: Store): Promise<Holding[]> {
  const used = await usedBlobs(store);
  const remembered = await remember(store);
  const holdings: Holding[] = [];
  for (const name of await readdir(join(store.root, 'blobs', 'sha256'))) {
    const digest = `sha256:${name}`;
    if (!isDigest(digest)) continue;
    const found = await stat(store.blobPath(digest)).catch(() => undefined);
    if (!found) continue;
    const use = used.get(digest);
    const memory = remembered.get(digest);
    holdings.push({
      path: join('blobs', 'sha256', name),
      kind: use ? 'image' : (memory?.kind ?? 'other'),
      size: found.size,
      lastUse: new Date(found.atimeMs).toISOString(),
      what: use?.what ?? memory?.what,
      usedBy: [...(use?.refs ?? [])].sort(),
    });
  }
  for (const folder of await folders(store.root))
    for (const name of await readdir(join(store.root, folder))) {
      const path = join(folder, name);
      const found = await stat(join(store.root, path)).catch(() => undefined);
      if (!found) continue;
      const what = remembered.get(`sha256:${name}`)?.what;
      const size = await sizeBelow(join(store.root, path));
      holdings.push({ path, kind: folder, size, lastUse: found.mtime.toISOString(), what, usedBy: [] });
    }
  return holdings.sort((a, b) => b.size - a.size || (a.path < b.path ? -1 : 1));
}

export interface StoreVerification {
  readonly blobs: number;
  /** Bytes hashed. */
  readonly bytes: number;
  readonly damage: readonly { readonly digest: Digest; readonly problem: string; readonly usedBy: readonly string[] }[];
}

/** Hashes every blob. Damage is reported, not thrown; `progress` is told bytes. */
export async function verifyStore(store: Store, signal?: AbortSignal, task?: Task): Promise<StoreVerification> {
  const used = await usedBlobs(store);
  const damage: StoreVerification['damage'][number][] = [];
  let blobs = 0;
  let bytes = 0;
  for (const name of await readdir(join(store.root, 'blobs', 'sha256'))) {
    const digest = `sha256:${name}`;
    if (!isDigest(digest)) continue;
    const path = store.blobPath(digest);
    try {
      const found = await hashStream(createReadStream(path, { highWaterMark: 1 << 20, ...(signal ? { signal } : {}) }));
      blobs += 1;
      bytes += found.size;
      task?.progress(bytes);
      if (found.digest === digest) continue;
      await utimes(path, new Date(), new Date());
      const usedBy = [...(used.get(digest)?.refs ?? [])].sort();
      damage.push({ digest, problem: `digest mismatch: got ${found.digest}`, usedBy });
    } catch (error) {
      signal?.throwIfAborted();
      if (!isErrno(error, 'ENOENT')) throw error; // another process removed it
    }
  }
  return { blobs, bytes, damage };
}

interface Use {
  readonly what: string;
  readonly refs: Set<string>;
}

async function usedBlobs(store: Store): Promise<Map<Digest, Use>> {
  const used = new Map<Digest, Use>();
  for (const { ref, descriptor } of await store.images()) {
    const use = (digest: Digest, what: string): void => {
      const known = used.get(digest) ?? { what, refs: new Set<string>() };
      known.refs.add(ref);
      used.set(digest, known);
    };
    try {
      const contents = await readContents(store, descriptor);
      use(descriptor.digest, 'index');
      for (const image of contents.platforms) {
        const platform = nameOf(image);
        use(image.descriptor.digest, `manifest of ${platform}`);
        use(image.manifest.config.digest, `config of ${platform}`);
        for (const layer of imageLayers(image)) {
          use(layer.descriptor.digest, `layer ${layer.name} of ${platform}`);
          if (layer.diffId !== layer.descriptor.digest)
            use(layer.diffId, `layer ${layer.name} of ${platform}, uncompressed`);
        }
      }
    } catch (error) {
      if (!(error instanceof KinaError)) throw error;
    }
  }
  return used;
}

interface Memory {
  readonly kind: 'artifact' | 'layer';
  readonly what: string | undefined;
}

/** What the records of the caches say about digests. A record with a URL and a digest is about an artifact. */
async function remember(store: Store): Promise<Map<string, Memory>> {
  const memories = new Map<string, Memory>();
  const root = join(store.root, 'records');
  for (const kind of await subfolders(root))
    for (const name of await readdir(join(root, kind))) {
      const value: unknown = await readFile(join(root, kind, name), 'utf8')
        .then(JSON.parse)
        .catch(() => undefined);
      for (const [digest, memory] of mentioned(value))
        if (memory.what !== undefined || !memories.has(digest)) memories.set(digest, memory);
    }
  return memories;
}

function* mentioned(value: unknown): Generator<[string, Memory]> {
  if (typeof value !== 'object' || value === null) return;
  const { digest, url, diffId, etag } = value as Record<string, unknown>;
  if (typeof diffId === 'string') yield [diffId, { kind: 'layer', what: undefined }];
  if (typeof digest === 'string' && typeof url === 'string') yield [digest, { kind: 'artifact', what: url }];
  else if (typeof digest === 'string' && typeof etag === 'string')
    yield [digest, { kind: 'artifact', what: undefined }];
  for (const inner of Object.values(value)) yield* mentioned(inner);
}

/** Folders of other modules. */
async function folders(root: string): Promise<string[]> {
  return (await subfolders(root)).filter((name) => !['blobs', 'refs', 'records', 'tmp', 'users'].includes(name));
}

async function subfolders(path: string): Promise<string[]> {
  const entries: Dirent[] = await readdir(path, { withFileTypes: true });
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
}

async function sizeBelow(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  if (!found?.isDirectory()) return found?.size ?? 0;
  let sum = 0;
  for (const name of await readdir(path)) sum += await sizeBelow(join(path, name));
  return sum;
}
