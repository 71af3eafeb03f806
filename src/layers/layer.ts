/**
 * Trees become blobs: one layer's entries through the tar writer into the store, once.
 *
 * The cache key is the canonical JSON of the entries themselves (path, type, mode, owner, attributes, digest of the
 * bytes), not of the steps that made them: a step that changed without changing its files costs nothing, and the
 * attributes of parent folders, which other layers decide, are in it by nature.
 */
import { digestOf } from '../host/json.ts';
import type { Reporter } from '../host/progress.ts';
import type { Digest } from '../oci/descriptor.ts';
import { hashStream } from '../oci/hash.ts';
import type { Store, Written } from '../oci/store/store.ts';
import type { Entry } from '../tree/entry.ts';
import { writeTar } from '../tree/tar-write.ts';

/** Raised when the tar writer would give other bytes for the same entries. */
const WRITER_VERSION = 1;

export interface Layer {
  readonly name: string;
  /** Digest of the uncompressed tar. */
  readonly diffId: Digest;
  /** Bytes of the uncompressed tar. */
  readonly size: number;
  readonly cached: boolean;
  /** Milliseconds it took. */
  readonly elapsed: number;
}

function entriesKey(entries: readonly Entry[], mtime: number): string {
  const lines = entries.map((e) => [
    e.path,
    e.type,
    e.mode,
    e.uid,
    e.gid,
    e.type === 'file' ? e.content.key : 'target' in e ? e.target : '',
    e.xattrs ? [...e.xattrs].map(([k, v]) => [k, Buffer.from(v).toString('base64')]).sort() : [],
  ]);
  return digestOf({ writer: WRITER_VERSION, mtime, entries: lines }).slice(7);
}

/** `entries` sorted by path, hard links settled within the layer. */
export async function buildLayer(
  name: string,
  entries: readonly Entry[],
  options: {
    store: Store;
    mtime: number;
    reporter: Reporter;
    signal: AbortSignal | undefined;
    noCache: boolean;
    title: string;
    /** A tar in the store that somebody says these entries give. It is believed when they do. */
    promised?: Written | undefined;
  },
): Promise<Layer> {
  const started = performance.now();
  const { store, mtime } = options;
  const key = entriesKey(entries, mtime);
  const known = options.noCache ? undefined : await store.getRecord<{ diffId: Digest; size: number }>('layer', key);
  if (known && (await store.has(known.diffId, known.size))) {
    return { name, ...known, cached: true, elapsed: performance.now() - started };
  }
  const { promised } = options;
  if (promised && (await store.has(promised.digest, promised.size))) {
    // Hashed, not written: reading 300 MB costs less than what a wrong tar under this key would.
    const { digest, size } = await hashStream(writeTar(entries, { mtime }));
    if (digest === promised.digest) {
      await store.putRecord('layer', key, { diffId: digest, size });
      return { name, diffId: digest, size, cached: true, elapsed: performance.now() - started };
    }
  }
  const task = options.reporter.task('write', options.title);
  try {
    const total = entries.reduce((sum, e) => sum + (e.type === 'file' ? e.content.size : 0), 0);
    const written = await store.write(
      counted(writeTar(entries, { mtime }), (bytes) => {
        options.signal?.throwIfAborted();
        task.progress(bytes, total);
      }),
    );
    await store.putRecord('layer', key, { diffId: written.digest, size: written.size });
    task.done();
    return { name, diffId: written.digest, size: written.size, cached: false, elapsed: performance.now() - started };
  } catch (error) {
    task.fail();
    throw error;
  }
}

async function* counted(source: AsyncIterable<Buffer>, report: (bytes: number) => void): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.length;
    report(bytes);
    yield chunk;
  }
}
