/**
 * The streaming server: where kubelet and crictl connect for exec, attach and port-forward, after the CRI call has given
 * them an address with a token. The address contains nothing else: the server keeps the permitted request. Speaks SPDY/3.1, WebSocket
 * with `v5.channel.k8s.io` or `v4`, and SPDY through WebSocket for ports.
 *
 * An HTTP upgrade is refused as the kubelet's own server does: 404 for an unknown token, 400 for a request that is not an
 * upgrade or does not name a protocol, 403 when it names only unsupported protocols, with those in `X-Accepted-Stream-Protocol-Versions`.
 */
import { createServer, type IncomingMessage, STATUS_CODES } from 'node:http';
import { isIP, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { isErrno, KinaError } from '../../host/errors.ts';
import type { AttachStream, ExecStream, StreamingBackend } from './backend.ts';
import type { CommandRequest } from './command.ts';
import { serveCommandOverSpdy, spdyCommandProtocols } from './command-spdy.ts';
import { type ForwardRequest, forwardProtocols, servePortForward } from './forward.ts';
import { Tokens } from './tokens.ts';
import {
  acceptWebSocket,
  serveCommandOverWebSocket,
  tunnelOf,
  tunnelProtocols,
  webSocketCommandProtocols,
} from './websocket.ts';

export interface StreamingOptions {
  /** An address that clients can dial, passed on unchanged. Names and wildcard addresses are invalid. */
  readonly address: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Milliseconds without data until a connection is closed; four hours, as the kubelet's. */
  readonly idleTimeout?: number;
}

/** The addresses are good once, for a minute; `busy` when a thousand are out. */
export interface StreamingServer {
  /** `http://ADDRESS:PORT`. */
  readonly url: string;
  /** Throws `usage` for a request that makes no sense: InvalidArgument to a CRI client. */
  exec(request: ExecStream): string;
  attach(request: AttachStream): string;
  portForward(request: ForwardRequest): string;
  /** Ends all connections. */
  close(): Promise<void>;
}

type Promised = CommandRequest | ({ readonly kind: 'portforward' } & ForwardRequest);

interface Upgrade {
  readonly request: IncomingMessage;
  readonly socket: Socket;
  readonly head: Buffer;
  readonly idleTimeout: number;
}

const usualIdleTimeout = 4 * 60 * 60 * 1000;
/** A connection that is quiet for so long is asked by the operating system whether the other machine is still there. */
const keepAlive = 30_000;

/** Listens. Throws `usage` for an address that cannot be bound or dialled. */
export async function startStreaming(backend: StreamingBackend, options: StreamingOptions): Promise<StreamingServer> {
  const tokens = new Tokens<Promised>();
  const sockets = new Set<Duplex>();
  const server = createServer((request, response) => {
    response.shouldKeepAlive = false;
    const found = takeUp(tokens, request);
    if (typeof found === 'number') return void response.writeHead(found).end(`${STATUS_CODES[found]}\n`);
    response.writeHead(400).end('this address is for an upgrade to SPDY/3.1 or WebSocket\n');
  });
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on('error', () => {}); // `close` follows
    socket.setTimeout(0).setNoDelay(true).setKeepAlive(true, keepAlive);
    const found = takeUp(tokens, request);
    if (typeof found === 'number') refuse(socket, found, STATUS_CODES[found] ?? '');
    else upgrade(backend, found, { request, socket, head, idleTimeout: options.idleTimeout ?? usualIdleTimeout });
  });
  const url = await listen(server, options);
  const promise = (request: Promised): string => `${url}/${request.kind}/${tokens.issue(request)}`;
  return {
    url,
    exec: (request) => promise({ kind: 'exec', ...checked(request) }),
    attach: (request) => promise({ kind: 'attach', ...checked(request) }),
    portForward: ({ podSandboxId }) => {
      if (podSandboxId === '') throw new KinaError('usage', 'no pod sandbox is named');
      return promise({ kind: 'portforward', podSandboxId });
    },
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        for (const socket of sockets) socket.destroy();
      }),
  };
}

/** The rules for exec and attach in the CRI's api.proto. */
function checked<T extends AttachStream>(request: T): T {
  if (request.containerId === '') throw new KinaError('usage', 'no container is named');
  if (!request.stdin && !request.stdout && !request.stderr)
    throw new KinaError('usage', 'none of stdin, stdout and stderr is asked for');
  if (request.tty && request.stderr)
    throw new KinaError('usage', 'tty and stderr exclude each other: a terminal has one output');
  return request;
}

/** The request that belongs to this address, or the HTTP status of the refusal. */
function takeUp(tokens: Tokens<Promised>, request: IncomingMessage): Promised | number {
  const path = /^\/(exec|attach|portforward)\/([\w-]+)$/.exec((request.url ?? '').split('?')[0] ?? '');
  if (!path) return 404;
  if (request.method !== 'GET' && request.method !== 'POST') return 405;
  const promised = tokens.take(path[2] ?? '');
  return promised && promised.kind === path[1] ? promised : 404;
}

function upgrade(backend: StreamingBackend, promised: Promised, upgrade: Upgrade): void {
  const { request, socket, head, idleTimeout } = upgrade;
  const forwarding = promised.kind === 'portforward';
  const wanted = request.headers.upgrade?.toLowerCase();
  if (wanted === 'websocket') {
    const ours = forwarding ? tunnelProtocols : webSocketCommandProtocols;
    const protocol = choose(request, socket, 'Sec-WebSocket-Protocol', ours);
    if (protocol === undefined) return;
    acceptWebSocket(request, socket, head, protocol, (connection) => {
      if (forwarding) void servePortForward(tunnelOf(connection), backend, promised, idleTimeout);
      else void serveCommandOverWebSocket(connection, protocol, backend, promised, idleTimeout);
    });
  } else if (wanted === 'spdy/3.1') {
    const protocol = choose(
      request,
      socket,
      'X-Stream-Protocol-Version',
      forwarding ? forwardProtocols : spdyCommandProtocols,
    );
    if (protocol === undefined) return;
    socket.write(
      answerHead(101, { Connection: 'Upgrade', Upgrade: 'SPDY/3.1', 'X-Stream-Protocol-Version': protocol }),
    );
    if (head.length > 0) socket.unshift(head);
    if (forwarding) void servePortForward(socket, backend, promised, idleTimeout);
    else void serveCommandOverSpdy(socket, backend, promised, idleTimeout);
  } else refuse(socket, 400, `cannot upgrade to ${wanted}, only to SPDY/3.1 or WebSocket`);
}

/** The client's first protocol that is one of `ours`; undefined when the request had to be refused. */
function choose(request: IncomingMessage, socket: Duplex, header: string, ours: readonly string[]): string | undefined {
  const lists = request.headersDistinct[header.toLowerCase()] ?? [];
  const named = lists.flatMap((list) => list.split(',')).map((name) => name.trim());
  const chosen = named.find((name) => ours.includes(name));
  if (chosen !== undefined) return chosen;
  if (named.length === 0 && header === 'X-Stream-Protocol-Version') refuse(socket, 400, `${header} is missing`);
  else refuse(socket, 403, 'no protocol in common', { 'X-Accepted-Stream-Protocol-Versions': ours.join(', ') });
  return undefined;
}

function refuse(socket: Duplex, code: number, why: string, headers: Readonly<Record<string, string>> = {}): void {
  const body = `${why}\n`;
  const plain = {
    'Content-Type': 'text/plain',
    'Content-Length': String(Buffer.byteLength(body)),
    Connection: 'close',
  };
  socket.end(answerHead(code, { ...plain, ...headers }) + body);
  socket.once('finish', () => socket.destroy());
}

/** The head of an answer, for a connection that Node's HTTP has let go of. */
function answerHead(code: number, headers: Readonly<Record<string, string>>): string {
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${code} ${STATUS_CODES[code]}\r\n${lines.join('')}\r\n`;
}

/** Throws `usage` for what is not one address: clients get it word for word. */
export function checkStreamingAddress(address: string): void {
  if (isIP(address) !== 0 && !['0.0.0.0', '::'].includes(address)) return;
  throw new KinaError('usage', `clients of the streaming server cannot dial ${address}`, {
    hint: 'Name one address of this machine, e.g. 127.0.0.1.',
  });
}

async function listen(server: ReturnType<typeof createServer>, options: StreamingOptions): Promise<string> {
  const { address, port } = options;
  checkStreamingAddress(address);
  await new Promise<void>((done, failed) => {
    server.once('error', (error) => {
      if (!isErrno(error, 'EADDRINUSE', 'EACCES', 'EADDRNOTAVAIL')) return failed(error);
      failed(
        new KinaError('usage', `the streaming server cannot listen on ${address}, port ${port}: ${error.message}`, {
          hint: 'Name another port (0 takes a free one) or another address.',
          cause: error,
        }),
      );
    });
    server.listen(port, address, done);
  });
  const bound = server.address();
  return `http://${isIP(address) === 6 ? `[${address}]` : address}:${bound && typeof bound === 'object' ? bound.port : port}`;
}
