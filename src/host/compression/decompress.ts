/**
 * Decompresses a file or a slice of one as a stream: gzip and zstd with Node's zlib, xz with `xz.ts`.
 *
 * The stream is complete: consecutive gzip members or zstd frames are one stream, and truncated data is an error, never
 * a shorter result. Output over a limit is an error too, so that a small file cannot fill a disk.
 */
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { isErrno, KinaError } from '../errors.ts';
import { decodeXz } from './xz.ts';

export type CompressionFormat = 'none' | 'gzip' | 'xz' | 'zstd';

const CHUNK = 256 << 10;
const DEFAULT_LIMIT = 16 * 2 ** 30;

/** Magic numbers. Formats that kina does not support are listed so that the error can name them. */
const MAGICS: readonly { bytes: readonly number[]; compression?: CompressionFormat; name: string }[] = [
  { bytes: [0x1f, 0x8b], compression: 'gzip', name: 'gzip' },
  { bytes: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], compression: 'xz', name: 'xz' },
  { bytes: [0x28, 0xb5, 0x2f, 0xfd], compression: 'zstd', name: 'zstd' },
  { bytes: [0x42, 0x5a, 0x68], name: 'bzip2' },
  { bytes: [0x04, 0x22, 0x4d, 0x18], name: 'lz4' },
  { bytes: [0x5d, 0x00, 0x00], name: 'lzma' },
  { bytes: [0x4c, 0x5a, 0x49, 0x50], name: 'lzip' },
  { bytes: [0x1f, 0x9d], name: 'compress (.Z)' },
  { bytes: [0x89, 0x4c, 0x5a, 0x4f], name: 'lzop' },
];

/**
 * Detects the compression from the first bytes (six are enough); `none` if they match no format. Throws `archive` for an
 * unsupported compression. `from` names the file in the message.
 */
export function sniff(head: Uint8Array, from = 'the file'): CompressionFormat {
  const found = MAGICS.find(({ bytes }) => bytes.every((byte, i) => head[i] === byte));
  if (found && !found.compression)
    throw new KinaError('archive', `${from} is compressed with ${found.name}: unsupported compression`, {
      hint: 'kina supports gzip, xz and zstd.',
    });
  // A skippable frame (RFC 8878, 3.1.2) may come first, e.g. from pzstd.
  if (((head[0] ?? 0) & 0xf0) === 0x50 && head[1] === 0x2a && head[2] === 0x4d && head[3] === 0x18) return 'zstd';
  return found?.compression ?? 'none';
}

/** The compression of a slice of a file, as `sniff` sees it. */
export async function compressionOf(
  file: string,
  offset: number,
  size: number,
  from = file,
): Promise<CompressionFormat> {
  return sniff(await readStart(file, offset, Math.min(size, 8)), from);
}

export interface DecompressOptions {
  /** Offset of the data in the file, in bytes; default 0. */
  offset?: number;
  /** Length of the data in bytes; default to the end of the file. */
  size?: number;
  /** Maximum output in bytes; default 16 GiB. */
  limit?: number;
  /** Name for messages; default the file's path. */
  from?: string;
  /** Output buffer size of the gzip and zstd decoders; default 256 KiB. */
  chunkSize?: number;
}

/** The decompressed bytes. Throws `archive` for damaged, truncated or too much data. */
export async function* decompressFile(file: string, options: DecompressOptions = {}): AsyncGenerator<Buffer> {
  const { offset = 0, limit = DEFAULT_LIMIT, from = file, chunkSize = CHUNK } = options;
  const size = options.size ?? (await stat(file)).size - offset;
  const source = { file, offset, size, from, chunkSize };
  const compression = await compressionOf(file, offset, size, from);
  const chunks = compression === 'xz' ? decodeXz(source, limit) : DECODERS[compression](source);
  let total = 0;
  for await (const chunk of chunks) {
    total += chunk.length;
    if (total > limit)
      throw new KinaError('archive', `${from} expands to more than the limit of ${limit} bytes`, {
        hint: 'The file is damaged or malicious; none of it was used.',
      });
    yield chunk;
  }
}

interface Source {
  readonly file: string;
  readonly offset: number;
  readonly size: number;
  readonly from: string;
  readonly chunkSize: number;
}

const DECODERS = { none: readPlain, gzip: decodeGzip, zstd: decodeZstd };

async function* readPlain({ file, offset, size, from }: Source): AsyncGenerator<Buffer> {
  if (size === 0) return;
  let seen = 0;
  for await (const chunk of createReadStream(file, { start: offset, end: offset + size - 1, highWaterMark: CHUNK })) {
    seen += chunk.length;
    yield chunk;
  }
  if (seen !== size) throw new KinaError('archive', `${from} is truncated: ${seen} of ${size} bytes`);
}

/** Node's gunzip reads all members, ignores trailing zeros and refuses other trailing bytes. */
async function* decodeGzip(source: Source): AsyncGenerator<Buffer> {
  yield* through(source, source.offset, createGunzip({ chunkSize: source.chunkSize }));
}

/** Node's zstd stops silently after one frame; its count of consumed bytes tells where the next one starts. */
async function* decodeZstd(source: Source): AsyncGenerator<Buffer> {
  const end = source.offset + source.size;
  for (let position = source.offset; position < end; ) {
    const decoder = createZstdDecompress({ chunkSize: source.chunkSize });
    yield* through(source, position, decoder);
    if (decoder.bytesWritten === 0) throw damaged(source.from, 'zstd', 'an empty frame');
    position += decoder.bytesWritten;
  }
}

type Decoder = ReturnType<typeof createGunzip> | ReturnType<typeof createZstdDecompress>;

async function* through(source: Source, position: number, decoder: Decoder): AsyncGenerator<Buffer> {
  const { file, offset, size, from } = source;
  const input = createReadStream(file, { start: position, end: offset + size - 1, highWaterMark: CHUNK });
  input.on('error', (error) => decoder.destroy(error));
  // Not `pipeline`: a zstd decoder can finish before its input, which pipeline treats as a failure.
  input.pipe(decoder);
  try {
    for await (const chunk of decoder) yield chunk;
  } catch (error) {
    if (error instanceof Error && 'code' in error && /^(Z_|ZSTD_)/.test(String(error.code)))
      throw damaged(from, sniff(await readStart(file, offset, 8)), reason(error), error);
    throw error;
  } finally {
    input.destroy();
    decoder.destroy();
  }
}

function reason(error: Error): string {
  return isErrno(error, 'Z_BUF_ERROR') ? 'truncated' : error.message;
}

function damaged(from: string, kind: string, why: string, cause?: unknown): KinaError {
  return new KinaError('archive', `${from} is not a valid ${kind} file: ${why}`, { cause });
}

async function readStart(file: string, offset: number, length: number): Promise<Buffer> {
  const handle = await open(file, 'r');
  try {
    const head = Buffer.alloc(length);
    const { bytesRead } = await handle.read(head, 0, length, offset);
    return head.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}
