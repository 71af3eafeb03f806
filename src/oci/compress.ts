/**
 * Layers compressed for transport, and decompressed. The diffID identifies a layer; its compressed bytes depend on the
 * compressor, so the cache key contains its version, and builds report it (`--json`).
 *
 * Determinism, measured with Node 24 (zstd 1.5.7): gzip's output does not depend on how the input is cut, zstd's does
 * when the pieces are below 64 KiB. Input is therefore cut into equal pieces whatever the disk returns. zstd runs with
 * one thread per layer (its own threads would change the bytes); layers run side by side on Node's thread pool.
 */
import { stat } from 'node:fs/promises';
import type { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { constants, createGzip, createZstdCompress } from 'node:zlib';
import { decompressFile } from '../host/compression/decompress.ts';
import { isErrno, KinaError } from '../host/errors.ts';
import { digestOf } from '../host/json.ts';
import { asDescriptor, type Descriptor, type Digest, mediaType } from './descriptor.ts';
import { StreamHash } from './hash.ts';
import type { Store, Written } from './store/store.ts';

export interface Compression {
  readonly kind: 'zstd' | 'gzip';
  /** zstd 1–19 (default 3), gzip 1–9 (default 6). */
  readonly level?: number;
}

/** Bytes handed to the compressor at a time. Part of what decides zstd's output: changing it changes digests. */
const pieceBytes = 1 << 20;

/** Above 19, zstd needs more memory to decompress than a node should spend. */
export const highestLevel: Readonly<Record<Compression['kind'], number>> = { zstd: 19, gzip: 9 };

/**
 * The compressor, e.g. `zlib 1.3.1` or `zstd 1.5.7`: the first thing to compare when the same layer compresses to different
 * bytes. It is not part of the image: Node 22, 24 and 26 have three versions of zlib that make the same bytes.
 */
export function compressorOf({ kind }: Compression): string {
  return kind === 'zstd' ? `zstd ${process.versions.zstd}` : `zlib ${process.versions.zlib}`;
}

/**
 * The descriptor of a compressed copy of `layer`, an uncompressed blob in the store; made once, then found.
 * `progress` is told how many uncompressed bytes have been read.
 */
export async function compressLayer(
  store: Store,
  layer: Descriptor,
  compression: Compression,
  progress: (bytes: number) => void = () => {},
): Promise<Descriptor> {
  const { kind, level = kind === 'zstd' ? 3 : 6 } = compression;
  const highest = highestLevel[kind];
  if (!Number.isInteger(level) || level < 1 || level > highest)
    throw new KinaError('usage', `${kind} has no compression level ${level}`, { hint: `Use 1 to ${highest}.` });
  if (layer.mediaType !== mediaType.layer)
    throw new KinaError('internal', `cannot compress a layer of type ${layer.mediaType}`);

  const type = kind === 'zstd' ? mediaType.layerZstd : mediaType.layerGzip;
  const key = digestOf({ diffId: layer.digest, kind, level, compressor: compressorOf(compression), pieceBytes });
  const known = asDescriptor(await store.getRecord('compressed', key));
  if (known?.mediaType === type && (await store.has(known.digest, known.size))) return known;

  const compressor = kind === 'zstd' ? zstd(level, layer.size) : createGzip({ level, chunkSize: 1 << 18 });
  const output = await run(store, layer, compressor, kind, progress);
  const made: Descriptor = { mediaType: type, ...output };
  await store.putRecord('compressed', key, made);
  return made;
}

/**
 * The descriptor of the uncompressed form of a layer, decompressed into the store unless it is there; `size` is what it must
 * have, where that is known. Throws `integrity` when it does not match its diffID, `archive` for an unknown compression,
 * `store` when the layer is damaged.
 */
export async function uncompressedLayer(
  store: Store,
  layer: Descriptor,
  diffId: Digest,
  size?: number,
): Promise<Descriptor> {
  const plain = (bytes: number): Descriptor => ({ mediaType: mediaType.layer, digest: diffId, size: bytes });
  if (layer.digest === diffId) return plain(layer.size);
  if (await store.has(diffId)) return plain((await stat(store.blobPath(diffId))).size);
  const what = `layer ${layer.digest}, uncompressed`;
  return plain((await decompressed(store, layer, (bytes) => store.write(bytes, { digest: diffId, size, what }))).size);
}

/**
 * Digest and size of what a compressed layer of the store decompresses to; nothing is written. Throws `integrity` beyond
 * `limit` bytes, and as `uncompressedLayer`.
 */
export function contentOf(store: Store, layer: Descriptor, limit: number): Promise<Written> {
  return decompressed(store, layer, async (bytes) => {
    const hash = new StreamHash();
    for await (const chunk of bytes) {
      hash.update(chunk);
      if (hash.size > limit)
        throw new KinaError(
          'integrity',
          `layer ${layer.digest}: size mismatch: got more than the ${limit} bytes expected`,
        );
    }
    return hash.result();
  });
}

const compressedTypes: ReadonlySet<string> = new Set([
  mediaType.layerGzip,
  mediaType.dockerLayerGzip,
  mediaType.layerZstd,
]);

/** The bytes decide about the compression. When they are wrong, a damaged blob in the store is the first suspect. */
async function decompressed(
  store: Store,
  layer: Descriptor,
  use: (bytes: AsyncIterable<Buffer>) => Promise<Written>,
): Promise<Written> {
  if (!compressedTypes.has(layer.mediaType))
    throw new KinaError('archive', `layer ${layer.digest} has the unknown type ${layer.mediaType}`, {
      hint: 'kina reads tar, tar+gzip and tar+zstd.',
    });
  try {
    return await use(decompressFile(store.blobPath(layer.digest), { from: `layer ${layer.digest}` }));
  } catch (error) {
    const isDamage =
      error instanceof KinaError ? error.code === 'archive' || error.code === 'integrity' : isErrno(error, 'ENOENT');
    if (isDamage) for await (const _ of store.verified(layer.digest, layer.size)); // throws `store` for a damaged blob
    throw error;
  }
}

function zstd(level: number, size: number): Transform {
  return createZstdCompress({
    chunkSize: 1 << 18,
    pledgedSrcSize: size, // the frame header then tells readers how much memory they need
    params: {
      [constants.ZSTD_c_compressionLevel]: level,
      [constants.ZSTD_c_checksumFlag]: 1, // four bytes that let `zstd -t` find damage without the manifest
    },
  });
}

async function run(
  store: Store,
  layer: Descriptor,
  compressor: Transform,
  kind: Compression['kind'],
  progress: (bytes: number) => void,
): Promise<Written> {
  let written: Written | undefined;
  await pipeline(equalPieces(store.verified(layer.digest, layer.size), progress), compressor, async (source) => {
    written = await store.write(kind === 'gzip' ? withNeutralHeader(source) : source);
  });
  return written as Written;
}

/** The same bytes in pieces of exactly `pieceBytes`, the last one excepted. */
async function* equalPieces(source: AsyncIterable<Buffer>, progress: (bytes: number) => void): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  let done = 0;
  for await (const chunk of source) {
    rest = rest.length ? Buffer.concat([rest, chunk]) : chunk;
    while (rest.length >= pieceBytes) {
      yield rest.subarray(0, pieceBytes);
      rest = rest.subarray(pieceBytes);
      done += pieceBytes;
      progress(done);
    }
  }
  if (rest.length) yield rest;
  progress(done + rest.length);
}

/** Sets the operating system in the gzip header to 255, unknown: zlib writes the one it was compiled for (RFC 1952, 2.3). */
async function* withNeutralHeader(source: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const headerBytes = 10;
  let head: Buffer | undefined = Buffer.alloc(0);
  for await (const chunk of source) {
    if (!head) {
      yield chunk;
      continue;
    }
    head = Buffer.concat([head, chunk]);
    if (head.length < headerBytes) continue;
    head[9] = 255;
    yield head;
    head = undefined;
  }
}
