/**
 * The server's side of one SPDY/3.1 connection, over anything that carries bytes both ways. Only the client opens
 * streams. Frames are read one behind the other, because header blocks are one zlib stream; data is sent in pieces of
 * 32 KiB, in turns, so that no stream starves the others; nothing is queued that the connection has no room for.
 *
 * A connection that is held up by a reader (see stream.ts) does not notice that its client has gone: the operating system
 * tells only those who read or write. So a PING goes out every ten seconds of such a pause.
 */
import type { Duplex } from 'node:stream';
import { KinaError } from '../../../host/errors.ts';
import { type IdleTimer, idleTimer } from '../idle.ts';
import { controlFrame, dataHeader, flagFin, frameType, type SpdyFrame, SpdyFrameReader, status } from './frames.ts';
import { HeaderReader, HeaderWriter } from './headers.ts';
import { SpdyStream, type Wire } from './stream.ts';

export interface SpdySessionOptions {
  /** Called for each stream that the client opens; false refuses it. The answer goes out when it returns: write later. */
  readonly onStream: (stream: SpdyStream) => boolean;
  /** Milliseconds without data until the connection is closed. */
  readonly idleTimeout: number;
}

/** Of data per frame. */
const piece = 32 << 10;
/** Open at once; each forwarded connection has two. */
const mostStreams = 2000;
/** Bytes of answers that a client may leave unread: beyond that it asks (PING) without listening. */
const mostUnread = 1 << 20;
/** Milliseconds. */
const pingInterval = 10_000;
/** Milliseconds for the client to take the last frame, and to go. */
const farewell = 2000;

export class SpdySession implements Wire {
  readonly #transport: Duplex;
  readonly #options: SpdySessionOptions;
  readonly #frames = new SpdyFrameReader();
  readonly #headerReader = new HeaderReader();
  readonly #headerWriter = new HeaderWriter();
  readonly #streams = new Map<number, SpdyStream>();
  readonly #gone = new AbortController();
  readonly #idle: IdleTimer;
  #lastStream = 0;
  /** The client opens no more streams. */
  #leaving = false;
  #closing = false;
  /** Streams with full buffers. */
  readonly #full = new Set<number>();
  #flow: (() => void) | undefined;
  /** Data that waits for room, one entry per stream. */
  readonly #queue: { stream: number; data: Buffer; done: (error?: Error) => void }[] = [];
  #pumping = false;

  constructor(transport: Duplex, options: SpdySessionOptions) {
    this.#transport = transport;
    this.#options = options;
    this.#idle = idleTimer(options.idleTimeout, () => this.close());
    transport.on('error', () => {}); // `close` follows
    transport.once('close', () => this.#end());
    transport.on('drain', () => this.#pump());
    void this.#read();
  }

  /** Aborts when the connection has ended, on either side. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  /** Says goodbye and closes the connection with everything on it. */
  close(failed = false): void {
    if (this.#closing || this.#gone.signal.aborted) return;
    this.#closing = true;
    this.#transport.end(controlFrame(frameType.goAway, [this.#lastStream, failed ? 1 : 0]));
    setTimeout(() => this.#transport.destroy(), farewell).unref();
    this.#end();
  }

  send(stream: number, data: Buffer, done: (error?: Error) => void): void {
    if (data.length === 0) done();
    else this.#queue.push({ stream, data, done });
    this.#pump();
  }

  finish(stream: number): void {
    this.#control(dataHeader(stream, 0, true));
  }

  reset(stream: number): void {
    this.#control(controlFrame(frameType.rstStream, [stream, status.cancel]));
  }

  wanted(stream: number): void {
    if (this.#full.delete(stream) && this.#full.size === 0) this.#flow?.();
  }

  /** Reads to the end, also when nothing is wanted any more: unread bytes would turn the last frame's way into a reset. */
  async #read(): Promise<void> {
    try {
      for await (const chunk of this.#transport) if (!this.#gone.signal.aborted) await this.#take(chunk);
    } catch {} // the connection broke; `close` follows
    this.#transport.destroy();
  }

  async #take(chunk: Buffer): Promise<void> {
    try {
      for (const frame of this.#frames.push(chunk))
        if (frame.kind === 'data') this.#receive(frame);
        else await this.#obey(frame);
      if (this.#full.size > 0) await this.#pause();
    } catch {
      this.close(true); // this is not SPDY
    }
  }

  /** Resolves when all readers want more. */
  async #pause(): Promise<void> {
    const probe = setInterval(() => this.#control(controlFrame(frameType.ping, [2])), pingInterval);
    await new Promise<void>((flow) => {
      this.#flow = flow;
    });
    this.#flow = undefined;
    clearInterval(probe);
  }

  #receive({ stream: id, payload, fin }: SpdyFrame & { kind: 'data' }): void {
    this.#idle.touch();
    const stream = this.#streams.get(id);
    if (!stream) {
      // data that was in transit when the stream ended
      if (id > this.#lastStream) throw new KinaError('network', `data for stream ${id}, which was never opened`);
      return;
    }
    if (payload.length > 0 && !stream.receive(payload)) this.#full.add(id);
    if (fin) stream.receiveEnd();
  }

  async #obey({ type, flags, body }: SpdyFrame & { kind: 'control' }): Promise<void> {
    switch (type) {
      case frameType.synStream:
        return this.#open(field(body, 0), flags, body.subarray(10));
      case frameType.synReply:
      case frameType.headers:
        return void (await this.#headerReader.read(body.subarray(4)));
      case frameType.rstStream:
        return this.#streams.get(field(body, 0))?.abandon();
      case frameType.ping:
        // odd ones are the client's questions, even ones its answers
        if (field(body, 0) % 2 === 1) this.#control(controlFrame(frameType.ping, [field(body, 0)]));
        return;
      case frameType.goAway:
        this.#leaving = true;
        return this.#leaveWhenDone();
      default: // SETTINGS, WINDOW_UPDATE and unknown frames have no effect
    }
  }

  async #open(id: number, flags: number, block: Buffer): Promise<void> {
    const headers = await this.#headerReader.read(block);
    if (this.#gone.signal.aborted) return;
    this.#idle.touch();
    if (id % 2 === 0 || id <= this.#lastStream) throw new KinaError('network', `the client opens stream ${id}`);
    this.#lastStream = id;
    const stream = new SpdyStream(id, headers, this);
    if (this.#streams.size >= mostStreams || !this.#options.onStream(stream)) {
      this.#control(controlFrame(frameType.rstStream, [id, status.refusedStream]));
      return stream.abandon();
    }
    this.#streams.set(id, stream);
    stream.once('close', () => this.#forget(id));
    this.#control(controlFrame(frameType.synReply, [id], this.#headerWriter.write(new Map())));
    if (flags & flagFin) stream.receiveEnd();
  }

  #forget(id: number): void {
    this.#streams.delete(id);
    this.wanted(id);
    const waiting = this.#queue.findIndex(({ stream }) => stream === id);
    if (waiting >= 0) this.#queue.splice(waiting, 1)[0]?.done(new KinaError('interrupted', 'the stream was reset'));
    this.#leaveWhenDone();
  }

  #leaveWhenDone(): void {
    if (this.#leaving && this.#streams.size === 0) this.close();
  }

  /** Sends a frame ahead of queued data. */
  #control(frame: Buffer): void {
    if (this.#closing || this.#gone.signal.aborted) return;
    this.#transport.write(frame);
    if (this.#transport.writableLength > mostUnread) this.#transport.destroy();
  }

  /** Sends data while the connection takes it, a piece of each stream in turn. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    for (let next = this.#queue.shift(); next; next = this.#queue.shift()) {
      if (this.#transport.writableNeedDrain) {
        this.#queue.unshift(next);
        break;
      }
      const data = next.data.subarray(0, piece);
      this.#transport.cork();
      this.#transport.write(dataHeader(next.stream, data.length));
      this.#transport.write(data);
      this.#transport.uncork();
      this.#idle.touch();
      next.data = next.data.subarray(piece);
      if (next.data.length > 0) this.#queue.push(next);
      else next.done();
    }
    this.#pumping = false;
  }

  #end(): void {
    if (this.#gone.signal.aborted) return;
    this.#idle.stop();
    this.#gone.abort(new KinaError('interrupted', 'the client is gone'));
    this.#headerReader.close();
    for (const stream of this.#streams.values()) stream.abandon();
    for (const { done } of this.#queue.splice(0)) done(this.#gone.signal.reason);
    this.#flow?.();
  }
}

/** 32 bits of a control frame's body, of which stream ids use 31. */
function field(body: Buffer, at: number): number {
  if (body.length < at + 4) throw new KinaError('network', 'a SPDY control frame is cut off');
  return body.readUInt32BE(at) & 0x7fff_ffff;
}
