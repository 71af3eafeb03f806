/**
 * Serves a folder of release files, `HOST/PATH`, over plain HTTP on a free loopback port, with faults on demand. A process
 * separate from the tests: hundreds of megabytes pass through it while tests measure their own memory and time.
 *
 *     node mirror-server.ts FOLDER '{"failRate":0.2,"seed":7}'
 *
 * Prints JSON lines: `{"url": …}` once it listens, then a `MirrorRequest` for every finished request.
 */
import { once } from 'node:events';
import { createReadStream, type Stats } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MirrorFaults, MirrorRequest } from './mirror.ts';

const [folder = '', settings = '{}'] = process.argv.slice(2);
const faults = JSON.parse(settings) as MirrorFaults;

/** Numbers in [0, 1), the same ones for the same seed: a linear congruential generator (Numerical Recipes, 7.1). */
let state = faults.seed ?? 1;
function random(): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return state / 2 ** 32;
}

interface Part {
  readonly status: 200 | 206;
  readonly start: number;
  readonly length: number;
}

/** What of the file is asked for. Undefined: the range is outside of it. */
function partOf(request: IncomingMessage, { size }: Stats, etag: string): Part | undefined {
  const condition = request.headers['if-range'];
  const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  if (!range || (condition !== undefined && condition !== etag)) return { status: 200, start: 0, length: size };
  const start = Number(range[1]);
  const end = Math.min(range[2] ? Number(range[2]) : size - 1, size - 1);
  return start >= size ? undefined : { status: 206, start, length: end - start + 1 };
}

/** A manifest is served with the media type in it, as a registry does; everything else is bytes. */
async function typeOf(path: string, file: string): Promise<string> {
  if (!/\/v2\/.+\/manifests\/[^/]+$/.test(path)) return 'application/octet-stream';
  return (JSON.parse(await readFile(file, 'utf8')) as { mediaType: string }).mediaType;
}

type Ending = Pick<MirrorRequest, 'bytes' | 'fault'>;

/** Sends the part with the faults that were asked for. */
async function send(response: ServerResponse, file: string, { start, length }: Part, size: number): Promise<Ending> {
  const breaksAt = random() < (faults.failRate ?? 0) ? Math.floor(random() * length) : Number.POSITIVE_INFINITY;
  const flipped = faults.corrupt?.includes(basename(file)) ? Math.floor(size / 2) - start : -1;
  const pace = faults.bytesPerSecond;
  const pieces = createReadStream(file, {
    start,
    end: start + length - 1,
    highWaterMark: pace ? Math.min(65_536, Math.ceil(pace / 10)) : 262_144,
  });
  let bytes = 0;
  for await (const read of pieces) {
    let piece = read as Buffer;
    if (pace) await sleep((piece.length / pace) * 1000);
    if (flipped >= bytes && flipped < bytes + piece.length) piece[flipped - bytes]! ^= 0xff;
    piece = piece.subarray(0, Math.max(0, breaksAt - bytes));
    if (piece.length > 0 && !response.write(piece)) await drained(response);
    if (response.destroyed) return { bytes, fault: 'client-closed' };
    bytes += piece.length;
    if (bytes < breaksAt) continue;
    await sleep(20); // A reset discards what has not left this process.
    response.socket?.resetAndDestroy();
    return { bytes, fault: 'reset' };
  }
  response.end();
  return { bytes, ...(flipped >= 0 && flipped < length ? { fault: 'corrupt' as const } : {}) };
}

async function drained(response: ServerResponse): Promise<void> {
  const settled = new AbortController();
  const either = ['drain', 'close'].map((event) => once(response, event, { signal: settled.signal }));
  await Promise.race(either);
  settled.abort();
  await Promise.allSettled(either);
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<Ending> {
  const { pathname } = new URL(request.url ?? '/', 'http://mirror');
  const path = decodeURIComponent(pathname);
  const file = join(folder, path);
  // The URL class has resolved `..`; an encoded one is left.
  const found = path.split('/').some((name) => name.startsWith('.'))
    ? undefined
    : await stat(file).catch(() => undefined);
  if (!found?.isFile()) return refuse(response, 404);
  const etag = `"${found.size}-${found.mtimeMs}"`;
  const part = partOf(request, found, etag);
  if (!part) return refuse(response, 416);
  const range = { 'content-range': `bytes ${part.start}-${part.start + part.length - 1}/${found.size}` };
  response.writeHead(part.status, {
    'accept-ranges': 'bytes',
    'content-length': part.length,
    'content-type': await typeOf(path, file),
    etag,
    ...(part.status === 206 ? range : {}),
  });
  if (request.method === 'GET' && part.length > 0) return send(response, file, part, found.size);
  response.end();
  return { bytes: 0 };
}

function refuse(response: ServerResponse, status: number): Ending {
  response.writeHead(status).end();
  return { bytes: 0 };
}

const print = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

const server = createServer((request, response) => {
  const { method = '', url = '', headers } = request;
  answer(request, response).then(
    (ending) => print({ method, url, range: headers.range, status: response.statusCode, ...ending }),
    (error) => {
      process.stderr.write(`${url}: ${error}\n`);
      response.destroy();
    },
  );
});
server.listen(0, '127.0.0.1', () => print({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }));
process.once('SIGTERM', () => {
  server.close();
  server.closeAllConnections();
});
