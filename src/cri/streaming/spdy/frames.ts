/**
 * SPDY/3.1 frames as bytes (SPDY Protocol, Draft 3.1, section 2.2). Data frames are handed on piece by piece, as they
 * arrive: one may be 16 MiB long. Control frames are short and handed on whole.
 */
import { KinaError } from '../../../host/errors.ts';

export const frameType = {
  synStream: 1,
  synReply: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  headers: 8,
  windowUpdate: 9,
} as const;

/** Both kinds of frames: this side sends nothing more on the stream. */
export const flagFin = 1;

/** Reasons in RST_STREAM; GOAWAY knows 0 (no trouble) and 1. */
export const status = { protocolError: 1, refusedStream: 3, cancel: 5 } as const;

export type SpdyFrame =
  /** `fin` comes with a frame's last piece. */
  | { readonly kind: 'data'; readonly stream: number; readonly payload: Buffer; readonly fin: boolean }
  | { readonly kind: 'control'; readonly type: number; readonly flags: number; readonly body: Buffer };

const headerSize = 8;
const controlBit = 0x8000_0000;
const version = 3;
/** Of a control frame: header blocks are the longest, and Kubernetes' are some hundred bytes. */
const longestControl = 64 << 10;

/** Finds the frames in a stream of bytes, however it is cut. */
export class SpdyFrameReader {
  readonly #header = Buffer.alloc(headerSize);
  #have = 0;
  /** Of the current frame's payload; undefined between frames. */
  #left: number | undefined;
  #body: Buffer[] = [];

  /** Throws if it is not SPDY/3. The pieces are views of `chunk`. */
  *push(chunk: Buffer): Generator<SpdyFrame, void> {
    let at = 0;
    while (at < chunk.length || this.#left === 0) {
      if (this.#left === undefined) {
        const copied = chunk.copy(this.#header, this.#have, at, at + headerSize - this.#have);
        at += copied;
        this.#have += copied;
        if (this.#have < headerSize) return;
        this.#left = this.#begin();
        continue;
      }
      const piece = chunk.subarray(at, at + this.#left);
      at += piece.length;
      this.#left -= piece.length;
      const frame = this.#take(piece, this.#left === 0);
      if (this.#left === 0) {
        this.#left = undefined;
        this.#have = 0;
      }
      if (frame) yield frame;
    }
  }

  /** The payload's length. */
  #begin(): number {
    const length = this.#header.readUIntBE(5, 3);
    if (this.#header.readUInt32BE(0) < controlBit) return length;
    const found = this.#header.readUInt16BE(0) & 0x7fff;
    if (found !== version) throw new KinaError('network', `the client speaks SPDY version ${found}, not ${version}`);
    if (length > longestControl) throw new KinaError('network', `a SPDY control frame has ${length} bytes`);
    return length;
  }

  #take(piece: Buffer, last: boolean): SpdyFrame | undefined {
    const first = this.#header.readUInt32BE(0);
    const flags = this.#header.readUInt8(4);
    if (first < controlBit)
      return { kind: 'data', stream: first, payload: piece, fin: last && (flags & flagFin) !== 0 };
    this.#body.push(piece);
    if (!last) return undefined;
    const body = Buffer.concat(this.#body);
    this.#body = [];
    return { kind: 'control', type: first & 0xffff, flags, body };
  }
}

/** The header of a data frame; `length` bytes follow. */
export function dataHeader(stream: number, length: number, fin = false): Buffer {
  const header = Buffer.alloc(headerSize);
  header.writeUInt32BE(stream);
  header.writeUInt32BE((fin ? flagFin << 24 : 0) + length, 4);
  return header;
}

/** A control frame: `fields` of 32 bits, then `block`. */
export function controlFrame(type: number, fields: readonly number[], block: Uint8Array = Buffer.alloc(0)): Buffer {
  const frame = Buffer.alloc(headerSize + 4 * fields.length + block.length);
  frame.writeUInt32BE(controlBit + (version << 16) + type);
  frame.writeUInt32BE(frame.length - headerSize, 4);
  for (const [index, field] of fields.entries()) frame.writeUInt32BE(field, headerSize + 4 * index);
  frame.set(block, headerSize + 4 * fields.length);
  return frame;
}
