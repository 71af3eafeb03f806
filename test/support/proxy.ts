/** A proxy before a real server that breaks what a test wants broken, request by request. */
import { createServer, type IncomingMessage, request as send } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What happens to a request; undefined lets it pass. */
export type Fault =
  /** The connection ends before anything is forwarded. */
  | 'drop'
  /** The server does it, the answer gets lost. */
  | 'lose answer'
  /** One byte of the body is changed on its way to the server. */
  | 'corrupt'
  /** The answer's body loses its second half and the connection. */
  | 'truncate'
  /** The server gets this many bytes of the body, then the connection ends. */
  | { readonly cutAfter: number }
  /** The proxy answers itself. */
  | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string }
  /** Headers of the answer are replaced. */
  | { readonly answer: Record<string, string> };

export interface FaultyProxy {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  /** `METHOD PATH`, without the query, of every request. */
  readonly requests: string[];
  /** Bytes of request bodies that arrived. */
  readonly received: () => number;
  /** Bytes of answers' bodies. */
  readonly sent: () => number;
  stop(): Promise<void>;
}

export async function startProxy(
  target: string,
  fault: (method: string, path: string, request: IncomingMessage) => Fault | undefined,
): Promise<FaultyProxy> {
  const requests: string[] = [];
  let received = 0;
  let sent = 0;
  const server = createServer((request, response) => {
    const path = (request.url ?? '').replace(/\?.*/, '');
    requests.push(`${request.method} ${path}`);
    const what = fault(request.method ?? '', path, request);
    if (what === 'drop') return void request.socket.destroy();
    if (typeof what === 'object' && 'status' in what) {
      response.writeHead(what.status, { 'content-type': 'text/plain', ...what.headers }).end(what.body ?? '');
      return void request.resume();
    }
    const [hostname, port] = target.split(':');
    const { url: path_, method, headers } = request;
    // The server names itself in Location; clients have to come back to the proxy.
    const onward = send({ hostname, port, path: path_, method, headers: { ...headers, host: address } }, (answer) => {
      if (what === 'lose answer') {
        answer.resume().once('end', () => request.socket.destroy());
        return;
      }
      answer.on('data', (chunk: Buffer) => {
        sent += chunk.length;
      });
      const changed = typeof what === 'object' && 'answer' in what ? what.answer : {};
      response.writeHead(answer.statusCode ?? 500, { ...answer.headers, ...changed });
      if (what !== 'truncate') return void answer.pipe(response);
      let left = Math.floor(Number(answer.headers['content-length'] ?? 0) / 2);
      answer.on('data', (chunk: Buffer) => {
        if (left > 0) response.write(chunk.subarray(0, left));
        left -= chunk.length;
        if (left <= 0) setTimeout(() => response.socket?.destroy(), 20);
      });
    });
    onward.on('error', () => request.socket.destroy());
    let forwarded = 0;
    request.on('data', (chunk: Buffer) => {
      received += chunk.length;
      const limit = typeof what === 'object' && 'cutAfter' in what ? what.cutAfter : Number.POSITIVE_INFINITY;
      if (forwarded >= limit) return;
      const part = Buffer.from(chunk.subarray(0, limit - forwarded));
      if (what === 'corrupt' && forwarded === 0) part[0] = (part[0] ?? 0) ^ 1;
      forwarded += part.length;
      onward.write(part);
      if (forwarded >= limit) setTimeout(() => [request.socket, onward].forEach((one) => void one.destroy()), 20);
    });
    request.on('end', () => onward.end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    host: address,
    requests,
    received: () => received,
    sent: () => sent,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
