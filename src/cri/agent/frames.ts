/**
 * Frames on a byte stream, as `protocol.ts` lays them out: cutting what arrives into frames, and wrapping what is sent.
 * This file does not interpret frames.
 */
import { KinaError } from '../../host/errors.ts';
import { channel, dataFrame, maximumFrame } from './protocol.ts';

export interface AgentFrame {
  readonly channel: number;
  /** A view of the received bytes, which do not change. */
  readonly payload: Buffer;
}

/** Length (32 bits, big endian) and channel (8 bits). */
const HEADER = 5;

/** One frame, ready to be sent. Throws `internal` when the payload exceeds the peer's limit. */
export function encodeFrame(on: number, payload: Uint8Array): Buffer {
  if (payload.length > maximumFrame)
    throw new KinaError(
      'internal',
      `a frame of ${payload.length} bytes is longer than the ${maximumFrame} of the protocol`,
    );
  const frame = Buffer.allocUnsafe(HEADER + payload.length);
  frame.writeUInt32BE(payload.length, 0);
  frame.writeUInt8(on, 4);
  frame.set(payload, HEADER);
  return frame;
}

/** A control frame with a JSON value. */
export function encodeControl(value: object): Buffer {
  return encodeFrame(channel.control, Buffer.from(JSON.stringify(value)));
}

/** Data as frames of `dataFrame` bytes at most; an empty piece gives none, because an empty frame is the end. */
export function encodeData(on: number, data: Uint8Array): Buffer[] {
  const frames: Buffer[] = [];
  for (let at = 0; at < data.length; at += dataFrame) frames.push(encodeFrame(on, data.subarray(at, at + dataFrame)));
  return frames;
}

/** Cuts a stream of bytes into frames, regardless of how it was split in transit. */
export class AgentFrameReader {
  #pieces: Buffer[] = [];
  #length = 0;

  /** The frames that `chunk` completes. Throws `integrity` when a header promises more than `maximumFrame`. */
  *push(chunk: Buffer): Generator<AgentFrame> {
    this.#pieces.push(chunk);
    this.#length += chunk.length;
    while (this.#length >= HEADER) {
      const header = this.#peek(HEADER);
      const length = header.readUInt32BE(0);
      if (length > maximumFrame)
        throw new KinaError('integrity', `a frame of ${length} bytes was announced; the longest has ${maximumFrame}`);
      if (this.#length < HEADER + length) return;
      const frame = this.#take(HEADER + length);
      yield { channel: frame.readUInt8(4), payload: frame.subarray(HEADER) };
    }
  }

  /** True when the stream may end here: nothing of a next frame has come. */
  get isAtFrameEnd(): boolean {
    return this.#length === 0;
  }

  #peek(count: number): Buffer {
    const first = this.#pieces[0];
    return first && first.length >= count ? first : this.#joined();
  }

  #take(count: number): Buffer {
    const first = this.#peek(count);
    const whole = first.length >= count ? first : this.#joined();
    this.#length -= count;
    if (whole.length === count) this.#pieces.shift();
    else this.#pieces[0] = whole.subarray(count);
    return whole.subarray(0, count);
  }

  /** Joins once per frame at most, not once per chunk: a long frame comes in hundreds of chunks. */
  #joined(): Buffer {
    const whole = Buffer.concat(this.#pieces);
    this.#pieces = [whole];
    return whole;
  }
}
