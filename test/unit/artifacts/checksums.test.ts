import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type ArtifactRequest, type ResolveOptions, resolveArtifact } from '../../../src/artifacts/checksums.ts';
import type { KinaError } from '../../../src/host/errors.ts';
import { Transport, type TransportOptions } from '../../../src/host/http.ts';
import { silent } from '../../../src/host/progress.ts';
import { Store } from '../../../src/oci/store/store.ts';
import { breakOff, sendFile, startServer, type TestServer } from '../../support/server.ts';

const body = Buffer.from('the bytes of kubelet');
const hash = (algorithm: string) => createHash(algorithm).update(body).digest('hex');
const digest = `sha256:${hash('sha256')}`;

type Answer = (request: IncomingMessage, response: ServerResponse) => unknown;
let answers: Record<string, Answer>;
let server: TestServer;
let root: string;
let store: Store;
const transports: Transport[] = [];
beforeEach(async () => {
  answers = {
    '/f': (request, response) => sendFile(request, response, body),
    '/f.sha256': (_, response) => response.end(hash('sha256')),
    '/f.sha512': (_, response) => response.end(`${hash('sha512')}  f\n`),
  };
  server = await startServer((request, response) => {
    const answer = answers[request.url!];
    if (answer) answer(request, response);
    else response.writeHead(404).end();
  });
  root = mkdtempSync(join(tmpdir(), 'kina-resolve-'));
  store = await Store.open(root);
});
afterEach(async () => {
  await Promise.all([server.stop(), ...transports.splice(0).map((transport) => transport.close())]);
  rmSync(root, { recursive: true });
});
function resolve(request: Partial<ArtifactRequest>, options: TransportOptions = {}) {
  const transport = new Transport({ retryDelay: 5, retries: 2, ...options });
  transports.push(transport);
  const context: ResolveOptions = { transport, store, reporter: silent };
  return resolveArtifact({ type: 'binary', name: 'kubelet', url: `${server.url}/f`, ...request }, context);
}
async function failure(promise: Promise<unknown>): Promise<KinaError> {
  return promise.then(
    () => expect.fail('it should have failed'),
    (error) => error as KinaError,
  );
}
const by = (name: string) => ({ checksum: { url: `${server.url}/${name}` } });

test('size from HEAD, digest from the file beside it; the artifact itself is not fetched', async () => {
  expect(await resolve({ version: 'v1', ...by('f.sha256') })).toEqual({
    type: 'binary',
    name: 'kubelet',
    version: 'v1',
    url: `${server.url}/f`,
    size: body.length,
    digest,
    verifiedBy: `${server.url}/f.sha256`,
  });
  expect(server.requests.sort()).toEqual(['GET /f.sha256', 'HEAD /f']);
});

test('a digest from the recipe needs no checksum file', async () => {
  const sha256 = hash('sha256').toUpperCase();
  expect(await resolve({ checksum: { sha256 } })).toMatchObject({ digest, verifiedBy: 'recipe' });
});

test('an artifact that does not exist is "not found", also when its checksum is missing or broken too', async () => {
  delete answers['/f'];
  expect((await failure(resolve(by('f.sha256')))).code).toBe('not-found');
  delete answers['/f.sha256'];
  expect((await failure(resolve(by('f.sha256')))).code).toBe('not-found');
  answers['/f.sha256'] = (_, response) => response.writeHead(403).end();
  expect((await failure(resolve(by('f.sha256')))).code).toBe('not-found');
});

test('an artifact whose checksum file is missing exists: leaving it out as optional would be wrong', async () => {
  const error = await failure(resolve(by('nothing')));
  expect(error.code).toBe('integrity');
  expect(error.message).toContain(`its checksum file ${server.url}/nothing does not`);
});

test('a server in trouble is never "not found"', async () => {
  answers['/f'] = (_, response) => response.writeHead(503).end();
  expect((await failure(resolve(by('f.sha256')))).code).toBe('network');
});

test('SHA-512 only: fetched once to learn the SHA-256, and checked', async () => {
  expect(await resolve(by('f.sha512'))).toMatchObject({ digest, size: body.length });
  expect(await store.has(digest as `sha256:${string}`)).toBe(true);
  answers['/f'] = (request, response) => sendFile(request, response, Buffer.from('something else'), { etag: '"2"' });
  const error = await failure(resolve(by('f.sha512')));
  expect(error.code).toBe('integrity');
  expect(error.details[0]).toContain(hash('sha512'));
});

test('unverified: pinned by fetching; again only when the server says that it changed', async () => {
  expect(await resolve({ unverified: true })).toMatchObject({ digest, verifiedBy: 'none' });
  await resolve({ unverified: true });
  expect(server.requests).toEqual(['HEAD /f', 'GET /f', 'HEAD /f']);
  const other = Buffer.from('a new release');
  answers['/f'] = (request, response) => sendFile(request, response, other, { etag: '"2"' });
  expect(await resolve({ unverified: true })).toMatchObject({ size: other.length });
});

test('a download for the digest is tried again when it breaks off', async () => {
  let first = true;
  const good = answers['/f']!;
  answers['/f'] = (request, response) => {
    if (request.method === 'HEAD' || !first) return good(request, response);
    first = false;
    breakOff(response, 200, { 'content-length': String(body.length) }, body.subarray(0, 5));
    return undefined;
  };
  expect(await resolve({ unverified: true })).toMatchObject({ digest });
});

test('a server that does not tell the size: fetched once, against the known digest', async () => {
  answers['/f'] = (request, response) => {
    response.writeHead(200, { 'transfer-encoding': 'chunked' });
    response.end(request.method === 'HEAD' ? undefined : body);
  };
  expect(await resolve(by('f.sha256'))).toMatchObject({ size: body.length, digest });
});

test('without a network, what was resolved before is known; anything else names itself', async () => {
  const before = await resolve(by('f.sha256'));
  expect(await resolve(by('f.sha256'), { offline: true })).toEqual(before);
  const error = await failure(resolve({ url: 'https://dl.k8s.io/g', ...by('g') }, { offline: true }));
  expect(error.code).toBe('offline');
  expect(error.message).toContain('https://dl.k8s.io/g');
});

test.each([
  [{}, 'no checksum is known'],
  [{ unverified: true, checksum: { sha256: 'a'.repeat(64) } }, 'contradict'],
  [{ checksum: { url: 'https://x.test', sha256: 'a'.repeat(64) } }, 'more than one source'],
  [{ checksum: { sha256: 'sha256:abc' } }, 'not 64 hex digits'],
])('a request that says nothing or two things is refused before any request: %j', async (request, message) => {
  const error = await failure(resolve(request));
  expect(error.code).toBe('recipe');
  expect(error.message).toContain(message);
  expect(server.requests).toEqual([]);
});
