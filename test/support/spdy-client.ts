/**
 * The client's side of SPDY/3.1 as Kubernetes' clients speak it, for tests: it upgrades, opens streams, and shows what the
 * server sends frame by frame, in order. Written from the protocol, not with the server's code; only the dictionary is
 * shared, and the real clients' recorded frames vouch for that.
 */
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import type { Duplex } from 'node:stream';
import { createDeflate, createInflate, constants as zlib } from 'node:zlib';
import { dictionary } from '../../src/cri/streaming/spdy/dictionary.ts';

/** What the server sent; `data` whole, as it was framed. */
export interface SeenFrame {
  readonly type: 'data' | 'fin' | 'reply' | 'rst' | 'ping' | 'goaway';
  readonly stream: number;
  readonly data: Buffer;
}

/** What Kubernetes' clients offer for exec and attach. */
export const offered = ['v5.channel.k8s.io', 'v4.channel.k8s.io', 'v3.channel.k8s.io', 'channel.k8s.io'];

/** The answer to an upgrade: a connection, or the response that refuses. */
export async function upgrade(
  url: string,
  headers: Record<string, string | string[]>,
  method = 'POST',
): Promise<{ response: IncomingMessage; socket: Duplex | undefined; head: Buffer }> {
  const call = request(url, { method, headers, agent: false });
  call.end();
  const answer = await Promise.race([
    once(call, 'upgrade') as Promise<[IncomingMessage, Duplex, Buffer]>,
    once(call, 'response') as Promise<[IncomingMessage]>,
  ]);
  const [response, socket, head] = answer;
  if (!socket) response.resume();
  return { response, socket, head: head ?? Buffer.alloc(0) };
}

export class SpdyClient {
  readonly socket: Duplex;
  readonly frames: SeenFrame[] = [];
  /** Takes data instead of `frames`, for what is too much to keep. */
  onData: ((stream: number, data: Buffer) => void) | undefined;
  readonly #deflate = createDeflate({ dictionary, flush: zlib.Z_SYNC_FLUSH });
  readonly #inflate = createInflate({ dictionary });
  readonly #closed: Promise<unknown>;
  #rest = Buffer.alloc(0);
  #next = 1;
  #wake: (() => void)[] = [];

  constructor(socket: Duplex) {
    this.socket = socket;
    this.#closed = once(socket, 'close');
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => this.#read(chunk));
    this.#inflate.resume();
    this.#inflate.on('error', (error) => socket.destroy(error));
  }

  static async connect(url: string, protocols: string[] = offered): Promise<SpdyClient> {
    const { response, socket, head } = await upgrade(url, {
      connection: 'Upgrade',
      upgrade: 'SPDY/3.1',
      'x-stream-protocol-version': protocols,
    });
    if (!socket) throw new Error(`refused with ${response.statusCode}`);
    socket.unshift(head);
    return new SpdyClient(socket);
  }

  /** Opens a stream; resolves with its id when the server has answered. Rejects when it refuses. */
  async open(headers: Record<string, string>, options: { fin?: boolean; wait?: boolean } = {}): Promise<number> {
    const id = this.#next;
    this.#next += 2;
    const block = await this.#compress(headers);
    const frame = Buffer.alloc(18 + block.length);
    frame.writeUInt32BE(0x80030001);
    frame.writeUInt32BE(((options.fin ? 1 : 0) << 24) + 10 + block.length, 4);
    frame.writeUInt32BE(id, 8);
    frame.set(block, 18);
    this.socket.write(frame);
    if (options.wait === false) return id;
    const answer = await this.find((f) => f.stream === id && (f.type === 'reply' || f.type === 'rst'));
    if (answer.type === 'rst') throw new Error(`stream ${id} refused with status ${answer.data.readUInt32BE(4)}`);
    return id;
  }

  /** Opens the streams of a command, in the order of the Go clients. */
  async channels(names: readonly string[]): Promise<Record<string, number>> {
    const ids: Record<string, number> = {};
    for (const name of names) ids[name] = await this.open({ streamtype: name });
    return ids;
  }

  /** A data frame; resolves when the connection has room for more. */
  async send(stream: number | undefined, data: string | Buffer, fin = false): Promise<void> {
    const payload = Buffer.from(data);
    const header = Buffer.alloc(8);
    header.writeUInt32BE(stream ?? 0);
    header.writeUInt32BE((fin ? 1 << 24 : 0) + payload.length, 4);
    if (!this.socket.write(Buffer.concat([header, payload]))) await once(this.socket, 'drain');
  }

  control(type: number, ...fields: number[]): void {
    const frame = Buffer.alloc(8 + 4 * fields.length);
    frame.writeUInt32BE(0x80030000 + type);
    frame.writeUInt32BE(4 * fields.length, 4);
    for (const [index, field] of fields.entries()) frame.writeUInt32BE(field, 8 + 4 * index);
    this.socket.write(frame);
  }

  reset(stream: number): void {
    this.control(3, stream, 5);
  }

  /** The first frame, seen already or to come, that fits. Rejects when the connection ends without one. */
  async find(fits: (frame: SeenFrame) => boolean): Promise<SeenFrame> {
    for (let ended = false; ; ) {
      const found = this.frames.find(fits);
      if (found) return found;
      if (ended) throw new Error('the connection ended before that frame came');
      ended = await Promise.race([
        new Promise<false>((wake) => this.#wake.push(() => wake(false))),
        this.#closed.then(() => true as const),
      ]);
    }
  }

  /** Everything on a stream until the server half-closes it. */
  async whole(stream: number | undefined): Promise<Buffer> {
    await this.find((f) => f.stream === stream && f.type === 'fin');
    return Buffer.concat(this.frames.filter((f) => f.stream === stream && f.type === 'data').map((f) => f.data));
  }

  /** Resolves when the server has ended the connection, or this side. */
  async closed(): Promise<void> {
    await this.#closed;
  }

  close(): void {
    this.socket.destroy();
  }

  #compress(headers: Record<string, string>): Promise<Buffer> {
    const texts = Object.entries(headers).flat();
    const block = Buffer.concat([
      word(Object.keys(headers).length),
      ...texts.flatMap((text) => [word(Buffer.byteLength(text)), Buffer.from(text)]),
    ]);
    const pieces: Buffer[] = [];
    const keep = (piece: Buffer) => pieces.push(piece);
    this.#deflate.on('data', keep);
    return new Promise((done, failed) =>
      this.#deflate.write(block, (error) => {
        this.#deflate.off('data', keep);
        if (error) failed(error);
        else done(Buffer.concat(pieces));
      }),
    );
  }

  #read(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk]);
    while (this.#rest.length >= 8) {
      const length = this.#rest.readUIntBE(5, 3);
      if (this.#rest.length < 8 + length) break;
      const body = this.#rest.subarray(8, 8 + length);
      const first = this.#rest.readUInt32BE(0);
      const fin = (this.#rest[4]! & 1) !== 0;
      this.#rest = this.#rest.subarray(8 + length);
      if (first < 0x80000000) {
        if (length > 0 && this.onData) this.onData(first, body);
        else if (length > 0) this.frames.push({ type: 'data', stream: first, data: body });
        if (fin) this.frames.push({ type: 'fin', stream: first, data: Buffer.alloc(0) });
        continue;
      }
      const type = ({ 2: 'reply', 3: 'rst', 6: 'ping', 7: 'goaway' } as const)[first & 0xffff];
      if (!type) throw new Error(`the server sent a control frame of type ${first & 0xffff}`);
      if (type === 'reply') this.#inflate.write(body.subarray(4));
      this.frames.push({ type, stream: body.readUInt32BE(0), data: body });
    }
    for (const wake of this.#wake.splice(0)) wake();
  }
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
