/**
 * One SPDY stream as a Node stream. Reading ends when the client half-closes; `end()` half-closes this side; a stream that
 * is destroyed before both is reset. SPDY/3.1 has windows, but Kubernetes' clients know none: back-pressure is the
 * connection's, so an unread stream stops all streams of its connection once its buffer is full.
 */
import { Duplex } from 'node:stream';
import type { Headers } from './headers.ts';

/** What a stream needs of its session. */
export interface Wire {
  /** Sends data; `done` is called when there is room for more, with an error when the connection is gone. */
  send(stream: number, data: Buffer, done: (error?: Error) => void): void;
  /** Half-closes. */
  finish(stream: number): void;
  reset(stream: number): void;
  /** The reader wants more. */
  wanted(stream: number): void;
}

/** Bytes that wait for a reader until the connection is held up; bytes that wait for the connection. */
const readable = 256 << 10;
const writable = 64 << 10;

export class SpdyStream extends Duplex {
  readonly id: number;
  readonly headers: Headers;
  readonly #wire: Wire;
  #ignoring = false;
  /** No frame may follow: the client has reset it, or the connection is gone. */
  #dead = false;

  constructor(id: number, headers: Headers, wire: Wire) {
    super({ readableHighWaterMark: readable, writableHighWaterMark: writable });
    this.id = id;
    this.headers = headers;
    this.#wire = wire;
    this.on('error', () => {}); // the stream's user sees its end; a client's failure must not end the service
  }

  /** Discards what still comes, so that a client that goes on sending is not stuck. */
  ignoreInput(): void {
    this.#ignoring = true;
    this.resume();
    this.#wire.wanted(this.id);
  }

  /** Data from the client; false when the reader has enough for now. */
  receive(data: Buffer): boolean {
    return this.#ignoring || this.destroyed || this.readableEnded || this.push(data);
  }

  /** The client has half-closed. */
  receiveEnd(): void {
    if (!this.destroyed) this.push(null);
  }

  /** The client has reset the stream, or is gone. */
  abandon(): void {
    this.#dead = true;
    this.destroy();
  }

  override _read(): void {
    this.#wire.wanted(this.id);
  }

  override _write(data: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#wire.send(this.id, data, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#wire.finish(this.id);
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.#dead && !(this.readableEnded && this.writableFinished)) this.#wire.reset(this.id);
    done(error);
  }
}
