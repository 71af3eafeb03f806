/** Downloads against a server that misbehaves. `test/integration/fetch.test.ts` does the same with the real mirror. */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { RemoteFile } from '../../../src/artifacts/artifact.ts';
import { Fetcher, type FetcherOptions } from '../../../src/artifacts/fetch.ts';
import type { KinaError } from '../../../src/host/errors.ts';
import { Transport, type TransportOptions } from '../../../src/host/http.ts';
import { type Reporter, silent } from '../../../src/host/progress.ts';
import { Store } from '../../../src/oci/store/store.ts';
import { describeUnless } from '../../support/requirements.ts';
import { breakOff, sendFile, startServer, type TestServer } from '../../support/server.ts';

const cleanups: (() => unknown)[] = [];
let root: string;
let store: Store;
beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'kina-fetch-'));
  store = await Store.open(root);
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
  rmSync(root, { recursive: true });
});

async function serve(handler: RequestListener): Promise<TestServer> {
  const server = await startServer(handler);
  cleanups.push(() => server.stop());
  return server;
}
function fetcher(options: Partial<FetcherOptions> & TransportOptions = {}): Fetcher {
  const transport = new Transport({ retryDelay: 5, retries: 2, ...options });
  cleanups.push(() => transport.close());
  return new Fetcher({ store, transport, reporter: silent, ...options });
}
function artifact(body: Uint8Array, url: string, more: Partial<RemoteFile> = {}): RemoteFile {
  const digest = `sha256:${createHash('sha256').update(body).digest('hex')}` as const;
  return { name: 'thing', url, size: body.length, digest, verifiedBy: 'test', ...more };
}
async function failure(promise: Promise<unknown>): Promise<KinaError> {
  return promise.then(
    () => expect.fail('it should have failed'),
    (error) => error as KinaError,
  );
}
const partials = () => readdirSync(join(root, 'partial')).sort();
/** Keeps a server's answer coming for ever, so that a test can stop it. */
const drip = (response: ServerResponse, headers: Record<string, string>, body: Uint8Array) =>
  void response.writeHead(200, headers).write(body);
const big = randomBytes(3 << 20);
const half = big.subarray(0, big.length / 2);

test('what the store has costs no request; the same bytes asked for at once cost one', async () => {
  const server = await serve((request, response) => sendFile(request, response, big));
  const a = artifact(big, `${server.url}/a`);
  const both = await fetcher().fetchAll([a, { ...a, name: 'other', url: `${server.url}/b` }]);
  expect(readFileSync(both[0]!.path).equals(big)).toBe(true);
  expect(both[1]!.artifact.name).toBe('other');
  await fetcher().fetch(a);
  expect(server.requests).toHaveLength(1);
  expect(partials()).toEqual([]);
});

describe('resuming', () => {
  /** Breaks off the first transfer half way, then behaves. */
  const breaking = (then: (request: IncomingMessage, response: ServerResponse) => void) =>
    serve((request, response) => {
      if (request.headers.range || request.headers['x-seen']) return then(request, response);
      breakOff(response, 200, { 'content-length': String(big.length), etag: '"1"' }, half);
    });

  test('a reset in the middle goes on with the rest, only if it is still the same file', async () => {
    const server = await breaking((request, response) => sendFile(request, response, big));
    await fetcher().fetch(artifact(big, server.url));
    const [first, second, ...more] = server.headers;
    expect(first).not.toHaveProperty('range');
    expect(Number(/^bytes=(\d+)-$/.exec(second!.range!)![1])).toBeGreaterThan(0);
    expect(second).toHaveProperty('if-range', '"1"');
    expect(more).toEqual([]);
  });

  test('the file changed in between (200 instead of 206): start again, nothing is mixed', async () => {
    const server = await breaking((request, response) => sendFile(request, response, big, { etag: '"2"' }));
    await fetcher().fetch(artifact(big, server.url));
    expect(server.requests).toHaveLength(2);
  });

  test('a server that knows no Range: start again', async () => {
    const server = await breaking((request, response) => sendFile(request, response, big, { ignoreRange: true }));
    await fetcher().fetch(artifact(big, server.url));
    expect(server.requests).toHaveLength(2);
  });

  test('a server that answers with the wrong range: start again', async () => {
    let ranges = 0;
    const server = await serve((request, response) => {
      if (!request.headers.range)
        return ranges
          ? sendFile(request, response, big)
          : breakOff(response, 200, { 'content-length': String(big.length) }, half);
      ranges++;
      response.writeHead(206, { 'content-range': `bytes 5-${big.length - 1}/${big.length}` }).end(big.subarray(5));
    });
    await fetcher().fetch(artifact(big, server.url));
    expect(ranges).toBe(1);
  });

  test('weak validators are not sent back: If-Range must compare strongly', async () => {
    const server = await serve((request, response) => {
      if (request.headers.range) return sendFile(request, response, big);
      breakOff(response, 200, { 'content-length': String(big.length), etag: 'W/"1"' }, half);
    });
    await fetcher().fetch(artifact(big, server.url));
    expect(server.headers[1]).toHaveProperty('range');
    expect(server.headers[1]).not.toHaveProperty('if-range');
  });

  test('patience lasts as long as there is progress', async () => {
    const server = await serve((request, response) => {
      const start = Number(/\d+/.exec(request.headers.range ?? '0')![0]);
      const piece = big.subarray(start, start + (300 << 10));
      const headers = {
        'content-length': String(big.length - start),
        'content-range': `bytes ${start}-${big.length - 1}/${big.length}`,
      };
      if (start + piece.length === big.length) response.writeHead(206, headers).end(piece);
      else breakOff(response, start ? 206 : 200, start ? headers : { 'content-length': String(big.length) }, piece);
    });
    await fetcher({ retries: 1 }).fetch(artifact(big, server.url));
    expect(server.requests.length).toBeGreaterThan(8);
  });

  test('and ends when no server is left', async () => {
    const server = await serve((_, response) =>
      breakOff(response, 200, { 'content-length': String(big.length) }, Buffer.from('x')),
    );
    const error = await failure(fetcher({ retries: 2 }).fetch(artifact(big, server.url)));
    expect(error.code).toBe('network');
    expect(server.requests).toHaveLength(3);
  });

  test('Ctrl-C leaves a partial, never a blob; the next process goes on', async () => {
    const stop = new AbortController();
    const server = await serve((request, response) => {
      if (request.headers.range) sendFile(request, response, big);
      else drip(response, { 'content-length': String(big.length), etag: '"1"' }, half);
    });
    const seen: Reporter = {
      ...silent,
      task: () => ({ progress: (done) => done === half.length && stop.abort(), done() {}, fail() {} }),
    };
    const a = artifact(big, server.url);
    expect((await failure(fetcher({ signal: stop.signal, reporter: seen }).fetch(a))).code).toBe('interrupted');
    const hex = a.digest.slice(7);
    expect(partials()).toEqual([hex, `${hex}.validator`]);
    expect(await store.has(a.digest)).toBe(false);

    await fetcher().fetch(a);
    expect(server.headers[1]).toMatchObject({ range: `bytes=${half.length}-`, 'if-range': '"1"' });
    expect(partials()).toEqual([]);
  });

  test('a partial that was damaged on disk is noticed and fetched anew', async () => {
    const server = await serve((request, response) => sendFile(request, response, big));
    const a = artifact(big, server.url);
    const path = join(await store.folder('partial'), a.digest.slice(7));
    writeFileSync(path, Buffer.concat([Buffer.from('damage'), half.subarray(6)]));
    await fetcher().fetch(a);
    expect(server.headers.map((h) => h.range)).toEqual([`bytes=${half.length}-`, undefined]);

    for (const wrong of [Buffer.alloc(big.length), Buffer.alloc(big.length + 1)]) {
      rmSync(store.blobPath(a.digest));
      writeFileSync(path, wrong);
      await fetcher().fetch(a);
      expect(readFileSync(store.blobPath(a.digest)).equals(big)).toBe(true);
    }
  });

  test('what a killed process left is taken over; what a living one writes is left alone', async () => {
    const server = await serve((request, response) => sendFile(request, response, big));
    const a = artifact(big, server.url);
    const folder = await store.folder('partial');
    const host = readdirSync(join(root, 'users'))[0]!.split('-')[0];
    const living = join(folder, `${a.digest.slice(7)}.${host}-${process.pid}-aaaa`);
    writeFileSync(living, half);
    writeFileSync(join(folder, `${a.digest.slice(7)}.${host}-4194305-bbbb`), big.subarray(0, 1000));
    await fetcher().fetch(a);
    expect(server.headers[0]).toHaveProperty('range', 'bytes=1000-');
    expect(readFileSync(living).equals(half)).toBe(true);
  });
});

describe('wrong content', () => {
  test('one flipped byte: expected, received, where from; nothing remains', async () => {
    const bad = Buffer.from(big);
    bad[1_000_000]! ^= 0xff;
    const server = await serve((request, response) => sendFile(request, response, bad));
    const a = artifact(big, `${server.url}/f`, { name: 'kubelet', version: 'v1' });
    const error = await failure(fetcher().fetch(a));
    expect(error).toMatchObject({
      code: 'integrity',
      message: `kubelet v1 from ${server.url}/f has the wrong size or digest`,
    });
    expect(error.details[0]).toContain(a.digest);
    expect(error.details[1]).toContain(artifact(bad, '').digest);
    expect(server.requests).toHaveLength(1);
    expect(await store.has(a.digest)).toBe(false);
    expect(partials().filter((name) => !name.endsWith('.validator'))).toEqual([]);
  });

  test('a size that differs is refused before the body', async () => {
    const server = await serve((_, response) => drip(response, { 'content-length': '4000000000' }, half));
    const error = await failure(fetcher().fetch(artifact(big, server.url)));
    expect(error.code).toBe('integrity');
    expect(error.details[1]).toContain('has 4000000000 bytes');
  });

  test('an endless body without a length is cut at the promised size', async () => {
    const server = await serve((_, response) => {
      const pump = () => {
        while (!response.destroyed && response.write(big));
      };
      response.on('drain', pump);
      pump();
    });
    expect((await failure(fetcher().fetch(artifact(big, server.url)))).details[1]).toContain('more than');
  });
});

// undici before 8 asserts, uncatchably, when a peer closes while the reader is slow (nodejs/undici issue 5360).
const { version: undici } = createRequire(import.meta.url)('undici/package.json') as { version: string };
const crashes = Number.parseInt(undici, 10) < 8 ? `servers that close connections crash undici ${undici}` : undefined;
describeUnless(crashes, 'servers that close the connection', () => {
  test('after a whole body that is read slowly: nothing is lost, nothing crashes', async () => {
    const server = await serve((_, response) =>
      response.writeHead(200, { connection: 'close', 'content-length': big.length }).end(big),
    );
    await fetcher().fetch(artifact(big, server.url));
    expect(server.requests).toHaveLength(1);
  });

  test('a body without a length that ends early is a broken transfer, not a wrong file', async () => {
    const server = await serve((_, response) => {
      response.writeHead(200, { connection: 'close', 'transfer-encoding': 'identity' });
      response.end(half);
    });
    const error = await failure(fetcher({ retries: 1 }).fetch(artifact(big, server.url)));
    expect(error.code).toBe('network');
    expect(error.message).toContain(`ended after ${half.length} of ${big.length} bytes`);
  });
});

describe('where from', () => {
  test('a fallback is tried after a definite 404, not after a failure', async () => {
    const server = await serve((request, response) => {
      if (request.url === '/gone') response.writeHead(404).end();
      else if (request.url === '/broken') response.writeHead(500).end();
      else sendFile(request, response, big);
    });
    const fallbacks = [`${server.url}/gone`, `${server.url}/snapshot`];
    await fetcher().fetch(artifact(big, `${server.url}/gone`, { fallbacks }));
    expect(server.requests).toEqual(['GET /gone', 'GET /gone', 'GET /snapshot']);
    const other = randomBytes(10);
    const error = await failure(fetcher().fetch(artifact(other, `${server.url}/broken`, { fallbacks })));
    expect(error.code).toBe('network');
    const nowhere = artifact(other, `${server.url}/gone`, { fallbacks: [`${server.url}/gone`] });
    expect((await failure(fetcher().fetch(nowhere))).code).toBe('not-found');
  });

  test('offline names everything that is missing at once, and asks nobody', async () => {
    const server = await serve((request, response) => sendFile(request, response, big));
    const have = artifact(big, `${server.url}/have`);
    await fetcher().fetch(have);
    const missing = ['one', 'two'].map((name) => artifact(Buffer.from(name), `${server.url}/${name}`, { name }));
    const error = await failure(fetcher({ offline: true }).fetchAll([missing[0]!, have, missing[1]!]));
    expect(error.code).toBe('offline');
    expect(error.details).toEqual([`one: ${server.url}/one`, `two: ${server.url}/two`]);
    expect(server.requests).toHaveLength(1);
  });

  test('the first failure stops the others, and they leave resumable partials', async () => {
    const { promise: begun, resolve } = Promise.withResolvers<void>();
    const server = await serve((request, response) => {
      if (request.url === '/slow') drip(response, { 'content-length': String(big.length) }, half);
      else void begun.then(() => response.writeHead(404).end());
    });
    const seen: Reporter = {
      ...silent,
      task: () => ({ progress: (done) => done === half.length && resolve(), done() {}, fail() {} }),
    };
    const slow = artifact(big, `${server.url}/slow`);
    const none = artifact(half, `${server.url}/none`, { name: 'none' });
    const error = await failure(fetcher({ reporter: seen }).fetchAll([slow, none]));
    expect(error.code).toBe('not-found');
    expect(partials()).toEqual([slow.digest.slice(7)]);
  });

  test('a download that one caller cancels goes on for the others', async () => {
    let slow = true;
    const server = await serve((request, response) => {
      if (request.url === '/bad') return setTimeout(() => response.writeHead(404).end(), 50);
      if (slow) drip(response, { 'content-length': String(big.length) }, half);
      else sendFile(request, response, big);
      slow = false;
      return undefined;
    });
    const shared = fetcher();
    const wanted = artifact(big, `${server.url}/big`);
    const batch = failure(shared.fetchAll([wanted, artifact(half, `${server.url}/bad`)]));
    const single = shared.fetch(wanted);
    expect((await batch).code).toBe('not-found');
    expect(readFileSync((await single).path).equals(big)).toBe(true);
  });
});

test('never more downloads at once than allowed', async () => {
  let now = 0;
  let most = 0;
  const bodies = Array.from({ length: 9 }, () => randomBytes(100));
  const server = await serve((request, response) => {
    most = Math.max(most, ++now);
    response.on('close', () => now--);
    // Answered when as many as are allowed are there; one more would arrive meanwhile.
    void vi
      .waitFor(() => expect(most).toBe(3), 15_000)
      .then(() => sleep(10))
      .finally(() => sendFile(request, response, bodies[Number(request.url!.slice(1))]!));
  });
  await fetcher({ concurrency: 3 }).fetchAll(bodies.map((body, i) => artifact(body, `${server.url}/${i}`)));
  expect(most).toBe(3);
});
