/**
 * Header blocks (SPDY Protocol, Draft 3.1, section 2.6.10): names and values, compressed with zlib. All blocks of one
 * direction are one zlib stream, so every block must be read, in the order of arrival, even an unwanted one.
 */
import { createInflate, type Inflate } from 'node:zlib';
import { KinaError } from '../../../host/errors.ts';
import { dictionary } from './dictionary.ts';

export type Headers = ReadonlyMap<string, string>;

/** Uncompressed bytes of one block. Kubernetes' clients need about a hundred; a small block can unpack to gigabytes. */
const largestBlock = 64 << 10;

/** The reading side of one connection. One `read` at a time. */
export class HeaderReader {
  /** Its buffer for output lives as long as the connection, so it is as small as blocks are. */
  readonly #inflate: Inflate = createInflate({ dictionary, chunkSize: 1024 });
  #pieces: Buffer[] = [];
  #size = 0;
  #failed: (error: Error) => void = () => {};

  constructor() {
    this.#inflate.on('data', (piece: Buffer) => {
      this.#size += piece.length;
      if (this.#size <= largestBlock) this.#pieces.push(piece);
      else this.#inflate.destroy();
    });
    this.#inflate.on('error', (error) => this.#failed(error));
    this.#inflate.on('close', () => this.#failed(broken('comes after the end')));
  }

  /** The headers of the next block. Rejects if it is not a block; the connection is then unusable. */
  async read(block: Uint8Array): Promise<Headers> {
    this.#pieces = [];
    this.#size = 0;
    await new Promise<void>((done, failed) => {
      this.#failed = failed;
      this.#inflate.write(block, (error) => (error ? failed(error) : done()));
    });
    // a destroyed zlib stream calls back as if all were well
    if (this.#size > largestBlock) throw broken(`unpacks to more than ${largestBlock} bytes`);
    return parseBlock(Buffer.concat(this.#pieces));
  }

  close(): void {
    this.#inflate.destroy();
  }
}

/**
 * The writing side of one connection. Blocks are stored, not deflated: the answers of this server are empty, and a
 * compressor would cost each connection a quarter of a megabyte and a trip through the thread pool.
 */
export class HeaderWriter {
  #started = false;

  write(headers: Headers): Buffer {
    const block = serializeBlock(headers);
    if (block.length > largestBlock - 1) throw broken('is larger than a stored block can be');
    const pieces = [storedBlock(block), storedBlock(Buffer.alloc(0))]; // the empty one is what Z_SYNC_FLUSH writes
    if (!this.#started) pieces.unshift(zlibHeader);
    this.#started = true;
    return Buffer.concat(pieces);
  }
}

/** RFC 1950: deflate with a 32 KiB window, a preset dictionary (FDICT, check bits to a multiple of 31), its Adler-32. */
const zlibHeader = Buffer.from('78bbe3c6a7c2', 'hex');

/** RFC 1951, 3.2.4; not the final block. It begins and ends at a byte, so the next one can follow at once. */
function storedBlock(bytes: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header.writeUInt16LE(bytes.length, 1);
  header.writeUInt16LE(~bytes.length & 0xffff, 3);
  return Buffer.concat([header, bytes]);
}

function serializeBlock(headers: Headers): Buffer {
  const pieces = [uint32(headers.size)];
  for (const [name, value] of headers)
    for (const text of [name, value]) pieces.push(uint32(Buffer.byteLength(text)), Buffer.from(text));
  return Buffer.concat(pieces);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** The headers of an uncompressed block. */
function parseBlock(block: Buffer): Headers {
  const headers = new Map<string, string>();
  let at = 4;
  const text = (): string => {
    const start = at + 4;
    if (start > block.length || start + block.readUInt32BE(at) > block.length) throw broken('is cut off');
    at = start + block.readUInt32BE(at);
    return block.toString('utf8', start, at);
  };
  if (block.length < 4) throw broken('is cut off');
  for (let left = block.readUInt32BE(0); left > 0; left--) {
    const name = text();
    if (name === '' || headers.has(name))
      throw broken(`has ${name === '' ? 'a header without a name' : `${name} twice`}`);
    headers.set(name, text());
  }
  return headers;
}

function broken(what: string): KinaError {
  return new KinaError('network', `a SPDY header block ${what}`);
}
