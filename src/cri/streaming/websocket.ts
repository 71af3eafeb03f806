/**
 * WebSocket (RFC 6455), framed by `ws`: exec and attach as `v5.channel.k8s.io`, and a tunnel for SPDY. In `v5` each binary
 * message begins with its channel's number; two bytes, 255 and a channel, half-close that channel, which is all that
 * `v4` lacks. Clients take an end without code 1000 for a failure.
 *
 * Clients send a ping every five seconds and give up after a minute without a pong. While a process does not read its
 * input nothing is read from the connection, pings neither: unasked pongs keep such a client alive (section 5.5.3).
 */
import type { IncomingMessage } from 'node:http';
import { type Duplex, Readable, Writable } from 'node:stream';
import { createWebSocketStream, type ServerOptions, type WebSocket, WebSocketServer } from 'ws';
import { KinaError } from '../../host/errors.ts';
import type { StreamingBackend } from './backend.ts';
import { type Channels, type CommandRequest, patience, serveCommand } from './command.ts';
import { type IdleTimer, idleTimer } from './idle.ts';
import { ResizeEvents } from './resize.ts';

export const webSocketCommandProtocols = ['v5.channel.k8s.io', 'v4.channel.k8s.io'] as const;
/** SPDY frames in binary messages, whose borders mean nothing. */
export const tunnelProtocols = ['SPDY/3.1+portforward.k8s.io'] as const;

const channel = { stdin: 0, stdout: 1, stderr: 2, status: 3, resize: 4, close: 255 } as const;

/** Of data per message. */
const piece = 32 << 10;
/** Bytes that wait for the process until the connection is held up. */
const readable = 256 << 10;
/** Milliseconds. */
const pongInterval = 5000;
/** Clients' messages have at most 32 KiB; one is held in memory whole. */
const longestMessage = 4 << 20;

/**
 * Shakes hands for `protocol`, which the client has named. `onOpen` is not called if the request is not a WebSocket handshake (400). `ws` must
 * not see the name: it refuses the tunnel's, because RFC 6455 allows no slash there.
 */
export function acceptWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  protocol: string,
  onOpen: (connection: WebSocket) => void,
): void {
  // `closeTimeout` is missing from @types/ws: how long a client may take to read what was sent before the close frame.
  const options: ServerOptions & { closeTimeout: number } = {
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: longestMessage,
    closeTimeout: patience,
  };
  const server = new WebSocketServer(options);
  delete request.headers['sec-websocket-protocol'];
  server.on('headers', (headers) => headers.push(`Sec-WebSocket-Protocol: ${protocol}`));
  server.handleUpgrade(request, socket, head, onOpen);
}

/** The bytes of a tunnel. */
export function tunnelOf(connection: WebSocket): Duplex {
  return createWebSocketStream(connection);
}

/** Resolves when the connection has ended. */
export async function serveCommandOverWebSocket(
  connection: WebSocket,
  protocol: string,
  backend: StreamingBackend,
  request: CommandRequest,
  idleTimeout: number,
): Promise<void> {
  const gone = new AbortController();
  const idle = idleTimer(idleTimeout, () => connection.terminate());
  connection.on('error', () => {}); // `close` follows
  connection.once('close', () => {
    idle.stop();
    gone.abort(new KinaError('interrupted', 'the client is gone'));
  });
  const stdin = request.stdin ? new Input(connection) : undefined;
  const sizes = request.tty ? new ResizeEvents() : undefined;
  connection.on('message', (message: Buffer) => {
    idle.touch();
    const data = message.subarray(1);
    if (message[0] === channel.stdin) stdin?.receive(data);
    else if (message[0] === channel.resize) sizes?.push(data);
    else if (message[0] === channel.close && protocol === 'v5.channel.k8s.io')
      if (data[0] === channel.stdin) stdin?.receiveEnd();
  });
  gone.signal.addEventListener('abort', () => {
    stdin?.destroy();
    sizes?.end();
  });
  const channels: Channels = {
    streams: {
      ...(stdin ? { stdin } : {}),
      ...(request.stdout ? { stdout: output(connection, channel.stdout, idle) } : {}),
      ...(request.stderr ? { stderr: output(connection, channel.stderr, idle) } : {}),
      ...(sizes ? { resize: sizes } : {}),
    },
    gone: gone.signal,
    ignoreInput: () => {
      stdin?.ignore();
      sizes?.end();
    },
    finish: async (status) => {
      await send(connection, channel.status, Buffer.from(status)).catch(() => {});
      connection.close(1000);
    },
    close: () => connection.terminate(),
  };
  await serveCommand(backend, request, channels);
}

/** Standard input: holds the connection up when its reader has enough. */
class Input extends Readable {
  readonly #connection: WebSocket;
  #ignoring = false;
  #pongs: NodeJS.Timeout | undefined;

  constructor(connection: WebSocket) {
    super({ highWaterMark: readable });
    this.#connection = connection;
    this.on('error', () => {});
  }

  receive(data: Buffer): void {
    if (this.#ignoring || this.destroyed || this.readableEnded || data.length === 0 || this.push(data)) return;
    this.#connection.pause();
    this.#pongs ??= setInterval(() => this.#connection.pong(undefined, false, () => {}), pongInterval);
  }

  receiveEnd(): void {
    if (!this.destroyed) this.push(null);
  }

  /** Discards what still comes. */
  ignore(): void {
    this.#ignoring = true;
    this.#flow();
  }

  override _read(): void {
    this.#flow();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#flow();
    done(error);
  }

  #flow(): void {
    clearInterval(this.#pongs);
    this.#pongs = undefined;
    if (this.#connection.isPaused) this.#connection.resume();
  }
}

/** One of the server's channels; each piece waits until the one before has left. */
function output(connection: WebSocket, number: number, idle: IdleTimer): Writable {
  const stream = new Writable({
    highWaterMark: 2 * piece,
    write(data: Buffer, _encoding, done) {
      idle.touch();
      sendAll(connection, number, data).then(() => done(), done);
    },
  });
  stream.on('error', () => {}); // the client is gone
  return stream;
}

async function sendAll(connection: WebSocket, number: number, data: Buffer): Promise<void> {
  for (let at = 0; at < data.length; at += piece) await send(connection, number, data.subarray(at, at + piece));
}

/** One message, as a whole; resolves when the operating system has it. */
function send(connection: WebSocket, number: number, data: Buffer): Promise<void> {
  const message = Buffer.allocUnsafe(1 + data.length);
  message[0] = number;
  message.set(data, 1);
  return new Promise((done, failed) => connection.send(message, { binary: true }, (e) => (e ? failed(e) : done())));
}
