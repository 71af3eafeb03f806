/**
 * Writes one layer: its entries go through the tar writer into the store, and the tar is compressed if asked for.
 *
 * The cache key is the canonical JSON of the entries (path, type, mode, owner, attributes, digest of the bytes), not of the
 * steps that made them: a step that changed without changing its files costs nothing. Attributes of parent directories, which
 * other layers decide, are part of the entries.
 */
import { digestOf } from '../host/json.ts';
import { type Compression, compressLayer } from '../oci/compress.ts';
import { type Descriptor, type Digest, mediaType } from '../oci/descriptor.ts';
import { hashStream } from '../oci/hash.ts';
import type { Written } from '../oci/store/store.ts';
import type { Session } from '../session/session.ts';
import type { Entry } from '../tree/entry.ts';
import { writeTar } from '../tree/tar-write.ts';
import type { AssembledLayer } from './assemble.ts';

/** Raised when the tar writer would give other bytes for the same entries. */
const WRITER_VERSION = 1;

export interface BuiltLayer {
  readonly name: string;
  /** Digest of the uncompressed tar. */
  readonly diffId: Digest;
  /** Bytes of the uncompressed tar. */
  readonly size: number;
  /** What the image refers to: the tar, or its compressed copy. */
  readonly descriptor: Descriptor;
  readonly cached: boolean;
  /** Milliseconds to write the tar. */
  readonly elapsed: number;
}
type Tar = Omit<BuiltLayer, 'name' | 'descriptor' | 'elapsed'>;

export interface LayerOptions extends Pick<Session, 'store' | 'reporter' | 'signal'> {
  /** Seconds since 1970. */
  readonly mtime: number;
  readonly compression: Compression | undefined;
  readonly noCache: boolean;
  /** For progress. */
  readonly title: string;
  /** A tar in the store that a cache claims to be this layer. It is used if it is. */
  readonly promised?: Written | undefined;
}

/** The entries are sorted by path, with hard links settled within the layer. */
export async function buildLayer({ name, entries }: AssembledLayer, options: LayerOptions): Promise<BuiltLayer> {
  const { signal, store, compression, title } = options;
  signal?.throwIfAborted();
  const started = performance.now();
  const tar = await layerTar(entries, options);
  const elapsed = performance.now() - started;
  const descriptor: Descriptor = { mediaType: mediaType.layer, digest: tar.diffId, size: tar.size };
  if (!compression) return { name, ...tar, descriptor, elapsed };
  const task = options.reporter.task('compress', title);
  try {
    const compressed = await compressLayer(store, descriptor, compression, (bytes) => {
      signal?.throwIfAborted();
      task.progress(bytes, tar.size);
    });
    task.done();
    return { name, ...tar, descriptor: compressed, elapsed };
  } catch (error) {
    task.fail();
    throw error;
  }
}

/** The layer's tar in the store: known, promised, or written now. */
async function layerTar(entries: readonly Entry[], options: LayerOptions): Promise<Tar> {
  const { store, mtime, promised } = options;
  const key = entriesKey(entries, mtime);
  const known = options.noCache ? undefined : await store.getRecord<{ diffId: Digest; size: number }>('layer', key);
  if (known && (await store.has(known.diffId, known.size))) return { ...known, cached: true };
  if (promised && (await store.has(promised.digest, promised.size))) {
    // Hashed, not written: reading 300 MB costs less than a wrong tar under this key would.
    const { digest, size } = await hashStream(writeTar(entries, { mtime }));
    if (digest === promised.digest) {
      await store.putRecord('layer', key, { diffId: digest, size });
      return { diffId: digest, size, cached: true };
    }
  }
  const { digest: diffId, size } = await writeLayer(entries, options);
  await store.putRecord('layer', key, { diffId, size });
  return { diffId, size, cached: false };
}

async function writeLayer(
  entries: readonly Entry[],
  { store, mtime, reporter, signal, title }: LayerOptions,
): Promise<Written> {
  const task = reporter.task('write', title);
  try {
    const total = entries.reduce((sum, e) => sum + (e.type === 'file' ? e.content.size : 0), 0);
    const written = await store.write(
      counted(writeTar(entries, { mtime }), (bytes) => {
        signal?.throwIfAborted();
        task.progress(bytes, total);
      }),
    );
    task.done();
    return written;
  } catch (error) {
    task.fail();
    throw error;
  }
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

async function* counted(source: AsyncIterable<Buffer>, report: (bytes: number) => void): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const chunk of source) {
    bytes += chunk.length;
    report(bytes);
    yield chunk;
  }
}
