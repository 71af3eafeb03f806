/**
 * xz with bounded memory, using a decoder that works on whole buffers.
 *
 * An .xz file ends with an index of its blocks and their packed and unpacked sizes (The .xz File Format 1.2.0,
 * https://tukaani.org/xz/xz-file-format.txt). The total size is therefore known, and limited, before decoding; each block
 * is decoded alone, wrapped into a stream, while the next ones are started. dpkg writes blocks of 24 MiB, which bounds
 * the memory.
 *
 * The index could lie: a 132 KB file that claimed little reached 762 MB in the decoder. The LZMA2 chunk headers inside the
 * block, which the decoder obeys, are therefore added up first and must agree with the index.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { xz } from '@napi-rs/lzma';
import { KinaError } from '../errors.ts';
import { WeightedSemaphore } from './weighted-semaphore.ts';

const HEADER_MAGIC = Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]);
const FOOTER_MAGIC = Buffer.from('YZ');
/** Size of the check after each block, by its id: none, CRC32, CRC64, SHA-256. The others are reserved. */
const CHECK_SIZES = new Map([
  [0x00, 0],
  [0x01, 4],
  [0x04, 8],
  [0x0a, 32],
]);
const NO_CHECK = 0x00;
const SHA256_CHECK = 0x0a;
const LZMA2 = 0x21;

/** A block is held in memory; `xz -9 -T0` writes blocks of 192 MiB, and `xz` without threads one block. */
const MAX_BLOCK = 256 << 20;
/** Room for some hundred thousand blocks. */
const MAX_INDEX = 1 << 20;
const PIECE = 256 << 10;
/**
 * Two of dpkg's blocks at a time per process. Decoding needs twice a block (measured: 50 MB for 24 MiB); a series of
 * packages peaks at 270 MB with this, at 400 MB with three blocks and no `release`.
 */
const gate = new WeightedSemaphore(48 << 20);

interface Block {
  /** Offset in the file. */
  readonly offset: number;
  /** Size of header, compressed data and check, without the padding to four bytes. */
  readonly unpadded: number;
  readonly uncompressed: number;
  readonly check: number;
}

/** The location of the xz data, and its name for messages. */
export interface XzSource {
  readonly file: string;
  readonly offset: number;
  readonly size: number;
  readonly from: string;
}

/**
 * The decoded bytes, in chunks of at most 256 KiB. Throws `archive` for damaged or truncated data, for more than `limit`
 * bytes (before decoding) and for blocks over 256 MiB. A block counts against the process-wide memory limit until it has
 * been read, so do not pause one stream while waiting for several others.
 */
export async function* decodeXz(source: XzSource, limit: number): AsyncGenerator<Buffer> {
  const handle = await open(source.file, 'r');
  const pending: { block: Block; data: Promise<Buffer> }[] = [];
  try {
    const blocks = await readIndex(handle, source);
    const total = blocks.reduce((sum, block) => sum + block.uncompressed, 0);
    if (total > limit)
      throw new KinaError('archive', `${source.from} expands to ${total} bytes, more than the limit of ${limit}`);
    const start = (block: Block) => {
      const data = decodeBlock(handle, block, source.from);
      data.catch(() => {}); // reported when its turn comes
      pending.push({ block, data });
    };
    let next = 0;
    while (next < blocks.length || pending.length > 0) {
      if (pending.length === 0) {
        const block = blocks[next++] as Block;
        await gate.enter(block.uncompressed);
        start(block);
      }
      // Look ahead only with free memory: waiting here could make two streams wait for each other.
      while (next < blocks.length && gate.tryEnter((blocks[next] as Block).uncompressed))
        start(blocks[next++] as Block);
      const bytes = await (pending[0] as (typeof pending)[0]).data;
      for (let at = 0; at < bytes.length; at += PIECE) yield Buffer.from(bytes.subarray(at, at + PIECE));
      release(bytes);
      gate.leave((pending.shift() as (typeof pending)[0]).block.uncompressed);
    }
  } finally {
    // The handle must not be in use when it is closed.
    for (const { block, data } of pending) {
      await data.catch(() => {});
      gate.leave(block.uncompressed);
    }
    await handle.close();
  }
}

/**
 * Frees a decoded block's memory at once. The garbage collector notices memory outside of its heap late: without this,
 * four packages in a row took 400 MB. The caller received copies, so the block is not shared.
 */
function release(block: Buffer): void {
  if (block.buffer instanceof ArrayBuffer && block.buffer.byteLength === block.length) block.buffer.transfer(0);
}

/** All blocks of all streams of the file, in order: streams may be concatenated, with zeros between them. */
async function readIndex(handle: FileHandle, source: XzSource): Promise<Block[]> {
  const streams: Block[][] = [];
  let end = source.offset + source.size;
  while (end > source.offset) {
    end = await skipPadding(handle, end, source);
    const stream = await readStream(handle, end, source);
    streams.unshift(stream.blocks);
    end = stream.start;
  }
  if (streams.length === 0) throw damaged(source.from, 'empty file');
  return streams.flat();
}

/** Streams may be followed by zeros, a multiple of four; a footer never ends in one. */
async function skipPadding(handle: FileHandle, from: number, source: XzSource): Promise<number> {
  for (let end = from; ; ) {
    const length = Math.min(4096, end - source.offset);
    const tail = await read(handle, end - length, length, source);
    const last = tail.findLastIndex((byte) => byte !== 0);
    end -= length - 1 - last;
    if (last < 0 && end > source.offset) continue;
    if ((from - end) % 4 !== 0) throw damaged(source.from, 'truncated, or followed by other data');
    return end;
  }
}

async function readStream(handle: FileHandle, end: number, source: XzSource) {
  const footer = await read(handle, end - 12, 12, source);
  if (!footer.subarray(10).equals(FOOTER_MAGIC) || footer.readUInt32LE(0) !== crc32(footer.subarray(4, 10)))
    throw damaged(source.from, 'truncated: the footer is missing');
  const indexSize = (footer.readUInt32LE(4) + 1) * 4;
  if (indexSize > MAX_INDEX) throw damaged(source.from, `the index is too long: ${indexSize} bytes`);
  const index = await read(handle, end - 12 - indexSize, indexSize, source);
  if (index[0] !== 0 || index.readUInt32LE(indexSize - 4) !== crc32(index.subarray(0, indexSize - 4)))
    throw damaged(source.from, 'the index is damaged');
  const check = footer[9] as number;
  if (footer[8] !== 0 || !CHECK_SIZES.has(check)) throw damaged(source.from, `unknown check type ${check}`);

  const numbers = new Numbers(index.subarray(1, indexSize - 4), source.from);
  const count = numbers.next();
  const sizes: { unpadded: number; uncompressed: number }[] = [];
  let packed = 0;
  for (let i = 0; i < count; i++) {
    const size = { unpadded: numbers.next(), uncompressed: numbers.next() };
    packed += roundUp(size.unpadded);
    sizes.push(size);
  }
  const start = end - 12 - indexSize - packed - 12;
  const header = await read(handle, start, 12, source);
  if (!header.equals(streamHeader(check))) throw damaged(source.from, 'the index does not match the blocks');
  let offset = start + 12;
  const blocks = sizes.map((size): Block => {
    const block = { offset, ...size, check };
    offset += roundUp(size.unpadded);
    return block;
  });
  return { start, blocks };
}

async function decodeBlock(handle: FileHandle, block: Block, from: string): Promise<Buffer> {
  if (block.uncompressed > MAX_BLOCK)
    throw new KinaError('archive', `${from} has an xz block of ${block.uncompressed} bytes, more than ${MAX_BLOCK}`, {
      hint: 'Compress it again in blocks: xz -d, then xz -T0 (or xz --block-size=64MiB).',
    });
  const checkSize = CHECK_SIZES.get(block.check) as number;
  // Incompressible data is stored, with 3 bytes for every 64 KiB: no honest block is much larger than its content.
  if (block.unpadded < 8 + checkSize || block.unpadded > block.uncompressed * 1.1 + 4096)
    throw damaged(from, 'the index has impossible sizes');
  const bytes = Buffer.alloc(roundUp(block.unpadded));
  const { bytesRead } = await handle.read(bytes, 0, bytes.length, block.offset);
  if (bytesRead !== bytes.length) throw damaged(from, 'truncated inside a block');
  checkChunks(bytes.subarray(0, block.unpadded - checkSize), block, from);

  // The decoder does not support SHA-256: it receives a block without a check, and the check is done here.
  const own = block.check === SHA256_CHECK;
  const stream = own
    ? singleBlockStream(NO_CHECK, bytes.subarray(0, roundUp(block.unpadded - 32)), block.unpadded - 32, block)
    : singleBlockStream(block.check, bytes, block.unpadded, block);
  let data: Buffer;
  try {
    data = await xz.decompress(stream);
  } catch (cause) {
    throw damaged(from, cause instanceof Error ? cause.message : 'cannot be decoded', cause);
  }
  if (data.length !== block.uncompressed) throw damaged(from, 'the size of a block does not match the index');
  if (
    own &&
    !createHash('sha256')
      .update(data)
      .digest()
      .equals(bytes.subarray(roundUp(block.unpadded) - 32))
  )
    throw damaged(from, 'a block does not match its SHA-256');
  return data;
}

/** Adds up the output of the LZMA2 chunks of a block, and refuses filters that the decoder lacks. */
function checkChunks(block: Buffer, { uncompressed }: Block, from: string): void {
  const headerSize = ((block[0] as number) + 1) * 4;
  const flags = block[1] as number;
  const numbers = new Numbers(block.subarray(2, headerSize - 4), from);
  if (flags & 0x40) numbers.next();
  if (flags & 0x80) numbers.next();
  if ((flags & 0x03) !== 0 || numbers.next() !== LZMA2)
    throw new KinaError('archive', `${from} uses an xz filter that kina cannot decode`, {
      hint: 'Compress it again with plain `xz` (only LZMA2).',
    });
  let total = 0;
  for (let at = headerSize; ; ) {
    const control = block[at];
    if (control === 0 && at + 1 === block.length) break;
    const isLzma = control !== undefined && control >= 0x80;
    if (!control || (control > 2 && !isLzma) || at + (isLzma ? 5 : 3) >= block.length)
      throw damaged(from, 'the compressed data is damaged');
    const low = block.readUInt16BE(at + 1) + 1;
    total += isLzma ? ((control & 0x1f) << 16) + low : low;
    at += isLzma ? (control >= 0xc0 ? 6 : 5) + block.readUInt16BE(at + 3) + 1 : 3 + low;
  }
  if (total !== uncompressed) throw damaged(from, 'the size of a block does not match the index');
}

/** A complete .xz file around one block. */
function singleBlockStream(check: number, block: Buffer, unpadded: number, { uncompressed }: Block): Buffer {
  const records = Buffer.from([0, 1, ...encodeNumber(unpadded), ...encodeNumber(uncompressed)]);
  const index = Buffer.alloc(roundUp(records.length) + 4);
  index.set(records);
  index.writeUInt32LE(crc32(index.subarray(0, -4)), index.length - 4);
  const footer = Buffer.alloc(12);
  footer.writeUInt32LE(index.length / 4 - 1, 4);
  footer[9] = check;
  footer.writeUInt32LE(crc32(footer.subarray(4, 10)));
  footer.set(FOOTER_MAGIC, 10);
  return Buffer.concat([streamHeader(check), block, index, footer]);
}

function streamHeader(check: number): Buffer {
  const header = Buffer.alloc(12);
  header.set(HEADER_MAGIC);
  header[7] = check;
  header.writeUInt32LE(crc32(header.subarray(6, 8)), 8);
  return header;
}

/** Variable-length integers: seven bits per byte, least significant first. */
class Numbers {
  readonly #bytes: Buffer;
  readonly #from: string;
  #at = 0;

  constructor(bytes: Buffer, from: string) {
    this.#bytes = bytes;
    this.#from = from;
  }

  next(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined || scale > 2 ** 49) throw damaged(this.#from, 'a number is out of range');
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  }
}

function encodeNumber(value: number): number[] {
  const bytes: number[] = [];
  for (let left = value; ; left = Math.floor(left / 128)) {
    if (left < 128) return [...bytes, left];
    bytes.push((left % 128) | 0x80);
  }
}

function roundUp(size: number): number {
  return Math.ceil(size / 4) * 4;
}

async function read(handle: FileHandle, offset: number, length: number, source: XzSource): Promise<Buffer> {
  if (offset < source.offset) throw damaged(source.from, 'truncated: too short for its index');
  const bytes = Buffer.alloc(length);
  const { bytesRead } = await handle.read(bytes, 0, length, offset);
  if (bytesRead !== length) throw damaged(source.from, 'truncated');
  return bytes;
}

function damaged(from: string, why: string, cause?: unknown): KinaError {
  return new KinaError('archive', `${from} is not a valid xz file: ${why}`, { cause });
}
