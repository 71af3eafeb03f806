/**
 * `kina mirror serve`: serves a mirror folder over HTTP to other machines of a closed network. Only files: no listings, no
 * names that begin with a dot, nothing outside of the folder, even through a symbolic link. Supports HEAD, Range, If-Range,
 * ETag and If-None-Match (RFC 9110, 13 and 14); registry manifests have the media type that they contain (OCI
 * distribution specification, "Pulling manifests").
 */
import { createReadStream } from 'node:fs';
import { readFile, realpath, stat } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { join, resolve, sep } from 'node:path';
import { isErrno, KinaError } from '../host/errors.ts';

export interface MirrorServer {
  /** `http://HOST:PORT`, without a trailing slash. */
  readonly url: string;
  stop(): Promise<void>;
}

interface ServedFile {
  readonly path: string;
  readonly size: number;
  readonly etag: string;
  readonly modified: Date;
}

const manifestPath = /\/v2\/.+\/manifests\/([^/]+)$/;
/** No manifest is larger (OCI distribution specification: registries should accept at least 4 MiB). */
const maxManifest = 4 << 20;

/** Listens; `port` 0 uses a free one. Throws `usage` if the folder does not exist or the address is not available. */
export async function serveMirror(folder: string, options: { host: string; port: number }): Promise<MirrorServer> {
  const root = await realpath(resolve(folder)).catch(() => undefined);
  if (root === undefined || !(await stat(root)).isDirectory())
    throw new KinaError('usage', `${folder} is not a folder`, {
      hint: 'Create it with `kina mirror create LOCK DIR`.',
    });
  const server = createServer((request, response) => {
    answer(root, request, response).catch(() => {
      if (response.headersSent) response.destroy();
      else response.writeHead(500).end();
    });
  });
  await new Promise<void>((done, fail) => {
    server.once('error', (error) => fail(explainListen(error, options)));
    server.listen(options.port, options.host, done);
  });
  const address = server.address();
  const port = address && typeof address === 'object' ? address.port : options.port;
  const host = options.host.includes(':') ? `[${options.host}]` : options.host;
  return {
    url: `http://${host}:${port}`,
    stop: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}

function explainListen(error: Error, { host, port }: { host: string; port: number }): Error {
  if (!isErrno(error, 'EADDRINUSE', 'EACCES', 'EADDRNOTAVAIL', 'ENOTFOUND')) return error;
  return new KinaError('usage', `cannot listen on ${host}:${port}: ${error.message}`, {
    hint: 'Use a different --port (0 uses a free one) or --host.',
    cause: error,
  });
}

async function answer(root: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method !== 'GET' && request.method !== 'HEAD')
    return void response.writeHead(405, { allow: 'GET, HEAD' }).end();
  const wanted = requestedPath(request.url ?? '/');
  const file = wanted && (await servedFile(root, wanted));
  if (!wanted || !file) return void response.writeHead(404, { 'content-type': 'text/plain' }).end('not found\n');
  const headers: Record<string, string> = {
    etag: file.etag,
    'last-modified': file.modified.toUTCString(),
    'accept-ranges': 'bytes',
    ...(await contentHeaders(wanted, file)),
  };
  if (matches(request.headers['if-none-match'], file.etag)) return void response.writeHead(304, headers).end();
  const range = requestedRange(request, file);
  if (range === 'unsatisfiable')
    return void response.writeHead(416, { ...headers, 'content-range': `bytes */${file.size}` }).end();
  const { start, end } = range ?? { start: 0, end: file.size - 1 };
  response.writeHead(range ? 206 : 200, {
    ...headers,
    'content-length': end - start + 1,
    ...(range ? { 'content-range': `bytes ${start}-${end}/${file.size}` } : {}),
  });
  if (request.method === 'HEAD' || file.size === 0) return void response.end();
  const body = createReadStream(file.path, { start, end, highWaterMark: 1 << 18 });
  body.once('error', () => response.destroy());
  response.once('close', () => body.destroy());
  body.pipe(response);
}

/** The decoded path; undefined for anything but a plain path below the folder. */
function requestedPath(target: string): string | undefined {
  try {
    const parts = (target.split(/[?#]/)[0] ?? '').replace(/^\/+/, '').split('/').map(decodeURIComponent);
    return parts.some((p) => p === '' || p.startsWith('.') || /[/\\\0]/.test(p)) ? undefined : parts.join('/');
  } catch {
    return undefined;
  }
}

async function servedFile(root: string, path: string): Promise<ServedFile | undefined> {
  const real = await realpath(join(root, path)).catch(() => undefined);
  if (!real?.startsWith(root + sep)) return undefined;
  const found = await stat(real).catch(() => undefined);
  if (!found?.isFile()) return undefined;
  const etag = `"${found.size.toString(16)}-${Math.floor(found.mtimeMs).toString(16)}"`;
  return { path: real, size: found.size, etag, modified: found.mtime };
}

async function contentHeaders(path: string, file: ServedFile): Promise<Record<string, string>> {
  const manifest = manifestPath.exec(`/${path}`);
  if (!manifest || file.size > maxManifest) return { 'content-type': 'application/octet-stream' };
  const { mediaType, manifests } = JSON.parse(await readFile(file.path, 'utf8')) as Record<string, unknown>;
  const type = manifests ? 'application/vnd.oci.image.index.v1+json' : 'application/vnd.oci.image.manifest.v1+json';
  return {
    'content-type': typeof mediaType === 'string' && /^[\w.+/-]+$/.test(mediaType) ? mediaType : type,
    ...(manifest[1]?.startsWith('sha256:') ? { 'docker-content-digest': manifest[1] } : {}),
  };
}

function matches(header: string | undefined, etag: string): boolean {
  return header !== undefined && (header.trim() === '*' || header.split(',').some((e) => e.trim() === etag));
}

/** One range. Several ranges and invalid ones are answered with the whole file, which RFC 9110, 14.2 allows. */
function requestedRange(
  { headers }: IncomingMessage,
  { size, etag, modified }: ServedFile,
): { start: number; end: number } | 'unsatisfiable' | undefined {
  const range = /^bytes=(?:(\d+)-(\d*)|-(\d+))$/.exec(headers.range ?? '');
  const validator = headers['if-range'];
  if (!range || (validator !== undefined && validator !== etag && validator !== modified.toUTCString()))
    return undefined;
  const start = range[3] === undefined ? Number(range[1]) : Math.max(0, size - Number(range[3]));
  const end = Math.min(size - 1, range[2] ? Number(range[2]) : size - 1);
  return start > end ? 'unsatisfiable' : { start, end };
}
