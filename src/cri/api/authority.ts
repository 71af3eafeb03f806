/**
 * Lets old clients in. gRPC libraries of kubelets before 1.23 send the path of the Unix socket as `:authority`, and HTTP/2
 * implementations that check what an authority may be (nghttp2, and so Node) end such a request with PROTOCOL_ERROR
 * before the server sees it. This file replaces the value in the bytes of the connection.
 *
 * The new value has as many characters as the old one, because sender and receiver count them in their tables of earlier
 * headers (RFC 7541, section 4.1). For that the old one need not be decoded: its Huffman code is canonical, so how many
 * codes there are of each length tells where each character ends.
 */
import type { Socket } from 'node:net';
import { Duplex, Transform, type TransformCallback } from 'node:stream';

/** How many codes have 5 bits, 6 bits, …: RFC 7541, appendix B. */
const codesOfLength: Readonly<Record<number, number>> = {
  5: 10,
  6: 26,
  7: 32,
  8: 6,
  10: 5,
  11: 3,
  12: 2,
  13: 6,
  14: 2,
  15: 3,
  19: 3,
  20: 8,
  21: 13,
  22: 26,
  23: 29,
  24: 12,
  25: 4,
  26: 15,
  27: 19,
  28: 29,
  30: 4,
};
const longestCode = 30;

/** Number of characters of a Huffman-coded string; undefined when it is invalid. The end is padded with ones. */
export function codedLength(bytes: Uint8Array): number | undefined {
  let count = 0;
  let [code, first, length, ones] = [0, 0, 0, true];
  for (const byte of bytes)
    for (let bit = 7; bit >= 0; bit--) {
      const one = (byte >> bit) & 1;
      length++;
      if (length > longestCode) return undefined;
      code = code * 2 + one;
      first *= 2;
      ones &&= one === 1;
      const codes = codesOfLength[length] ?? 0;
      if (code - first < codes) {
        count++;
        [code, first, length, ones] = [0, 0, 0, true];
      } else first += codes;
    }
  return length < 8 && ones ? count : undefined;
}

/** An integer with a prefix of `bits` bits (RFC 7541, section 5.1), and where the next thing begins. */
function integer(block: Uint8Array, at: number, bits: number): [value: number, next: number] {
  const most = 2 ** bits - 1;
  let value = block[at]! & most;
  let next = at + 1;
  if (value < most) return [value, next];
  for (let shift = 1; next < block.length && shift < 2 ** 28; shift *= 128) {
    const byte = block[next++]!;
    value += (byte & 127) * shift;
    if (byte < 128) break;
  }
  return [value, next];
}

/** A length with a prefix of seven bits, of a string that is not Huffman-coded. */
function plainLength(length: number): Buffer {
  if (length < 127) return Buffer.from([length]);
  const bytes = [127];
  let rest = length - 127;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

/** Index of `:authority` in the static table. */
const authority = 1;

/** A header block with another authority where the sender's is written out and cannot be right; else undefined. */
export function withoutBadAuthority(block: Buffer): Buffer | undefined {
  for (let at = 0; at < block.length; ) {
    const first = block[at]!;
    if (first >= 0x80) at = integer(block, at, 7)[1];
    else if (first >= 0x20 && first < 0x40) at = integer(block, at, 5)[1];
    else {
      const [name, afterName] = integer(block, at, first >= 0x40 ? 6 : 4);
      const start = name === 0 ? afterString(block, afterName) : afterName;
      const next = afterString(block, start);
      if (next > block.length) return undefined;
      if (name === authority) return replaced(block, start, next);
      at = next;
    }
  }
  return undefined;
}

function afterString(block: Buffer, at: number): number {
  const [length, next] = integer(block, at, 7);
  return next + length;
}

function replaced(block: Buffer, start: number, next: number): Buffer | undefined {
  const [, value] = integer(block, start, 7);
  const text = block.subarray(value, next);
  const coded = block[start]! >= 0x80;
  // the characters of a coded value are unknown here, and later code does not need them
  if (!coded && !text.includes('/')) return undefined;
  const length = coded ? codedLength(text) : text.length;
  if (length === undefined) return undefined;
  return Buffer.concat([
    block.subarray(0, start),
    plainLength(length),
    Buffer.alloc(length, 'x'),
    block.subarray(next),
  ]);
}

const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
/** Of a frame: length (24 bits), type, flags, stream. RFC 9113, section 4.1. */
const frameHeader = 9;
const headersFrame = 1;
const flag = { endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

/** The frame with its authority replaced; a valid frame is returned unchanged. */
function mended(frame: Buffer): Buffer {
  const flags = frame[4]!;
  if (frame[3] !== headersFrame || !(flags & flag.endHeaders)) return frame;
  const padding = flags & flag.padded ? frame[frameHeader]! : 0;
  const start = frameHeader + (flags & flag.padded ? 1 : 0) + (flags & flag.priority ? 5 : 0);
  const block = withoutBadAuthority(frame.subarray(start, frame.length - padding));
  if (!block) return frame;
  const whole = Buffer.concat([frame.subarray(0, start), block, frame.subarray(frame.length - padding)]);
  whole.writeUIntBE(whole.length - frameHeader, 0, 3);
  return whole;
}

/** What a client sends, frame by frame. */
class Mending extends Transform {
  #rest: Buffer = Buffer.alloc(0);
  #begun = false;

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#rest = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    if (!this.#begun && this.#rest.length >= preface.length) {
      this.push(this.#rest.subarray(0, preface.length));
      this.#rest = this.#rest.subarray(preface.length);
      this.#begun = true;
    }
    while (this.#begun && this.#rest.length >= frameHeader) {
      const length = frameHeader + this.#rest.readUIntBE(0, 3);
      if (this.#rest.length < length) break;
      this.push(mended(this.#rest.subarray(0, length)));
      this.#rest = this.#rest.subarray(length);
    }
    done();
  }

  override _flush(done: TransformCallback): void {
    this.push(this.#rest);
    done();
  }
}

/** The connection, with authorities that HTTP/2 allows. Both directions end as the socket does. */
export function mendAuthority(socket: Socket): Duplex {
  const readable = socket.pipe(new Mending());
  socket.once('error', (error) => readable.destroy(error));
  socket.once('close', () => readable.destroy());
  return Duplex.from({ readable, writable: socket });
}
