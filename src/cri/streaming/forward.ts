/**
 * Port forwarding over SPDY, `portforward.k8s.io`: the client opens two streams for each connection that it accepts,
 * `error` and `data`, joined by their `requestid`, and each pair becomes one connection into the sandbox. Text on `error`
 * makes clients give up everything that they forward, so only a connection that could not be made is told there; one that
 * breaks later is reset.
 */
import { addAbortSignal, type Duplex } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { StreamingBackend } from './backend.ts';
import { SpdySession } from './spdy/session.ts';
import type { SpdyStream } from './spdy/stream.ts';
import { explain } from './status.ts';

export const forwardProtocols = ['portforward.k8s.io'] as const;

export interface ForwardRequest {
  podSandboxId: string;
}

/** Milliseconds until a stream's partner must be there, as the kubelet waits. */
const pairingTime = 30_000;

interface Pair {
  readonly error: SpdyStream;
  readonly data: SpdyStream;
  readonly port: number;
}

/** Resolves when the connection has ended. */
export async function servePortForward(
  transport: Duplex,
  backend: StreamingBackend,
  { podSandboxId }: ForwardRequest,
  idleTimeout: number,
): Promise<void> {
  const pairs = new Pairs();
  const session: SpdySession = new SpdySession(transport, {
    idleTimeout,
    onStream: (stream) => {
      const pair = pairs.add(stream);
      if (typeof pair === 'object') void forward(pair, backend, podSandboxId, session.gone);
      return pair !== 'refused';
    },
  });
  await new Promise<void>((done) => session.gone.addEventListener('abort', () => done(), { once: true }));
  pairs.close();
}

/** Streams that wait for their partners, by request. */
class Pairs {
  readonly #waiting = new Map<string, { readonly stream: SpdyStream; readonly late: NodeJS.Timeout }>();

  add(stream: SpdyStream): Pair | 'waiting' | 'refused' {
    const id = stream.headers.get('requestid');
    const port = portOf(stream);
    if (!['error', 'data'].includes(typeOf(stream)) || !id || port === undefined) return 'refused';
    const partner = this.#waiting.get(id);
    if (!partner) {
      this.#waiting.set(id, { stream, late: setTimeout(() => this.#giveUp(id), pairingTime) });
      return 'waiting';
    }
    if (typeOf(partner.stream) === typeOf(stream) || portOf(partner.stream) !== port) return 'refused';
    clearTimeout(partner.late);
    this.#waiting.delete(id);
    return typeOf(stream) === 'data'
      ? { error: partner.stream, data: stream, port }
      : { error: stream, data: partner.stream, port };
  }

  close(): void {
    for (const { late } of this.#waiting.values()) clearTimeout(late);
  }

  #giveUp(id: string): void {
    this.#waiting.get(id)?.stream.destroy();
    this.#waiting.delete(id);
  }
}

const typeOf = (stream: SpdyStream): string => stream.headers.get('streamtype') ?? '';

function portOf(stream: SpdyStream): number | undefined {
  const port = Number(stream.headers.get('port'));
  return Number.isInteger(port) && port > 0 && port < 65536 ? port : undefined;
}

/** One connection from its beginning to its end. Never rejects. `gone`: so is the client. */
async function forward(
  { error, data, port }: Pair,
  backend: StreamingBackend,
  podSandboxId: string,
  gone: AbortSignal,
): Promise<void> {
  error.ignoreInput();
  let remote: Duplex;
  try {
    remote = await backend.connect(podSandboxId, port, gone);
  } catch (reason) {
    data.ignoreInput();
    error.end(`cannot forward to port ${port} of ${podSandboxId}: ${explain(reason)}`);
    data.end();
    return;
  }
  remote.on('error', () => {}); // `finished` tells
  if (data.destroyed) return void remote.destroy();
  addAbortSignal(gone, remote);
  data.once('close', () => {
    // reset by the client; when both have said all, what is still on its way to the other side arrives
    if (!data.readableEnded || !data.writableFinished) remote.destroy();
  });
  data.pipe(remote);
  remote.pipe(data);
  try {
    await finished(remote, { writable: false });
    await finished(data, { readable: false });
  } catch {
    data.destroy();
  }
  if (!error.destroyed) error.end();
}
