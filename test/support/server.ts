/** A small HTTP server on loopback whose faults a test writes itself, request by request. */
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface TestServer {
  /** `http://127.0.0.1:PORT`. */
  readonly url: string;
  /** `METHOD PATH` of every request, in order. */
  readonly requests: string[];
  /** Headers of every request, in the same order. */
  readonly headers: IncomingMessage['headers'][];
  stop(): Promise<void>;
}

export async function startServer(
  handler: RequestListener,
  make: (l: RequestListener) => Server = createServer,
): Promise<TestServer> {
  const requests: string[] = [];
  const headers: IncomingMessage['headers'][] = [];
  const server = make((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    headers.push(request.headers);
    handler(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    headers,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Says that `whole` will come, sends `part`, then resets the connection as a dying server or a bad line does. */
export function breakOff(
  response: ServerResponse,
  status: number,
  headers: Record<string, string>,
  part: Uint8Array,
): void {
  response.writeHead(status, headers);
  response.write(part, () => {
    // What was written has left this process before the reset, or the client would see none of it.
    setTimeout(() => response.socket?.resetAndDestroy(), 20);
  });
}

export interface FileOptions {
  readonly etag?: string;
  /** Answer Range with 200 and everything, as simple servers do. */
  readonly ignoreRange?: boolean;
}

/** Serves bytes as good servers do: HEAD, Range, If-Range, ETag (RFC 9110, 13 and 14). */
export function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  body: Uint8Array,
  options: FileOptions = {},
): void {
  const etag = options.etag ?? '"1"';
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  const current = request.headers['if-range'] === undefined || request.headers['if-range'] === etag;
  if (!range || options.ignoreRange || !current) {
    response.writeHead(200, { 'content-length': body.length, etag });
    response.end(request.method === 'HEAD' ? undefined : body);
    return;
  }
  const start = Number(range[1]);
  const end = range[2] ? Number(range[2]) : body.length - 1;
  if (start >= body.length) {
    response.writeHead(416, { 'content-range': `bytes */${body.length}` }).end();
    return;
  }
  response.writeHead(206, {
    'content-range': `bytes ${start}-${end}/${body.length}`,
    'content-length': end - start + 1,
    etag,
  });
  response.end(body.subarray(start, end + 1));
}
