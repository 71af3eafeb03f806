/**
 * Pushing to a real registry through a proxy that drops, delays, lies and forgets: the image arrives whole or not at all,
 * a tag never leads to something else than was meant, and what is said about it helps.
 */
import { createHash } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Fetcher } from '../../../src/artifacts/fetch.ts';
import type { KinaError } from '../../../src/host/errors.ts';
import { Transport, type TransportOptions } from '../../../src/host/http.ts';
import { silent } from '../../../src/host/progress.ts';
import type { Descriptor } from '../../../src/oci/descriptor.ts';
import { partsOf } from '../../../src/oci/image/contents.ts';
import type { BlobRef } from '../../../src/oci/image/image.ts';
import { parseReference } from '../../../src/oci/reference.ts';
import { type PushResult, pushImage } from '../../../src/oci/registry/push.ts';
import { storeImage } from '../../../src/oci/store/image.ts';
import { Store } from '../../../src/oci/store/store.ts';
import { openLocation } from '../../../src/ops/registry/open.ts';
import { run } from '../../support/command.ts';
import { type Fault, type FaultyProxy, startProxy } from '../../support/proxy.ts';
import { startRegistry } from '../../support/registry.ts';
import { describeUnless } from '../../support/requirements.ts';
import { smallImage } from '../../support/small-image.ts';

const folder = mkdtempSync(join(tmpdir(), 'kina-faults-'));
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});
afterAll(() => rmSync(folder, { recursive: true }));

const registry = await startRegistry();
const real = registry.skip !== undefined ? '' : registry.host;
afterAll(() => (registry.skip !== undefined ? undefined : registry.stop()));

let store: Store;
let image: Descriptor;
const big = 3 << 20;
beforeAll(async () => {
  store = await Store.open(mkdtempSync(join(folder, 'store-')));
  image = await smallImage(store, 'faults', [big, 70_000]);
});

function transport(options: TransportOptions = {}): Transport {
  const made = new Transport({ retryDelay: 5, ...options });
  closing.push(() => made.close());
  return made;
}
async function proxied(fault: Parameters<typeof startProxy>[1]): Promise<FaultyProxy> {
  const proxy = await startProxy(real, fault);
  closing.push(proxy.stop);
  return proxy;
}
function push(ref: string, root = image, options: TransportOptions = {}): Promise<PushResult> {
  const references = [parseReference(ref)];
  return pushImage({
    image: storeImage(store, root),
    references,
    transport: transport(options),
    reporter: silent,
    store,
  });
}
async function failure(promise: Promise<unknown>): Promise<KinaError> {
  return promise.then(
    () => expect.fail('it should have failed'),
    (error) => error as KinaError,
  );
}
/** What the tag stands for, as skopeo sees it, straight from the registry. */
async function tagOf(name: string): Promise<string> {
  const { code, stdout } = await run(['skopeo', 'inspect', '--raw', '--tls-verify=false', `docker://${real}/${name}`]);
  return code === 0 ? `sha256:${createHash('sha256').update(stdout).digest('hex')}` : 'no such image';
}
/** Every layer read and checked by an independent tool. */
async function intact(name: string): Promise<void> {
  const target = `oci:${mkdtempSync(join(folder, 'copy-'))}:x`;
  const copied = await run(['skopeo', 'copy', '--all', '--src-tls-verify=false', `docker://${real}/${name}`, target]);
  expect(copied.stderr).toBe('');
  expect(copied.code).toBe(0);
}
/** `fault` for the first `times` requests that match. */
function first(times: number, method: string, path: RegExp, fault: Fault) {
  let left = times;
  return (m: string, p: string): Fault | undefined => (m === method && path.test(p) && left-- > 0 ? fault : undefined);
}
const uploads = /\/blobs\/uploads\/./;

describeUnless(registry.skip, 'what passes', () => {
  test.each<[string, (m: string, p: string) => Fault | undefined]>([
    ['connections that end at once', first(3, 'PUT', uploads, 'drop')],
    ['a blob that is cut in the middle', first(2, 'PUT', uploads, { cutAfter: 1 << 20 })],
    ['an upload whose answer gets lost', first(2, 'PUT', uploads, 'lose answer')],
    ['uploads that do not begin', first(3, 'POST', uploads, 'drop')],
    ['a busy registry', first(2, 'POST', /uploads/, { status: 429, headers: { 'retry-after': '0' } })],
    ['a broken registry', first(3, 'PUT', /./, { status: 500 })],
    ['an upload that the registry has forgotten', first(1, 'PUT', uploads, { status: 404 })],
    ['a manifest that does not arrive', first(2, 'PUT', /manifests/, 'drop')],
    ['a question that is not answered', first(4, 'HEAD', /blobs/, { status: 503 })],
    [
      'a registry that does not know a blob yet',
      first(2, 'PUT', /manifests/, { status: 400, body: '{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}' }),
    ],
  ])('%s', async (title, fault) => {
    const name = `passes/${title.replaceAll(' ', '-')}:v1`;
    const root = await smallImage(store, title, [big, 70_000]);
    const proxy = await proxied(fault);
    await push(`${proxy.host}/${name}`, root);
    expect(await tagOf(name)).toBe(root.digest);
    await intact(name);
    expect(await push(`${real}/${name}`, root)).toMatchObject({ uploaded: 0, manifests: 0 });
  });

  test('Retry-After is obeyed', async () => {
    const root = await smallImage(store, 'patience', [1000]);
    const proxy = await proxied(first(1, 'POST', /uploads/, { status: 429, headers: { 'retry-after': '1' } }));
    const started = performance.now();
    await push(`${proxy.host}/patience:v1`, root);
    expect(performance.now() - started).toBeGreaterThan(990);
  });

  test('a proxy that takes no large bodies gets pieces', async () => {
    const root = await smallImage(store, 'pieces', [34 << 20]);
    const proxy = await proxied((_, __, request) =>
      Number(request.headers['content-length']) > 20 << 20 ? { status: 413 } : undefined,
    );
    await push(`${proxy.host}/pieces:v1`, root);
    expect(proxy.requests.filter((request) => request.startsWith('PATCH'))).toHaveLength(3);
    expect(await tagOf('pieces:v1')).toBe(root.digest);
    await intact('pieces:v1');
  });

  test('a registry that takes no small pieces gets those that it wants', async () => {
    const minimum = 18 << 20;
    const sizes: number[] = [];
    const root = await smallImage(store, 'minimum', [34 << 20]);
    const proxy = await proxied((method, _, request) => {
      const length = Number(request.headers['content-length']);
      if (length > 20 << 20) return { status: 413 };
      if (method === 'PATCH') sizes.push(length);
      return method === 'POST' ? { answer: { 'oci-chunk-min-length': String(minimum) } } : undefined;
    });
    await push(`${proxy.host}/minimum:v1`, root);
    expect(sizes[0]).toBe(minimum);
    expect(sizes).toHaveLength(2);
    expect(await tagOf('minimum:v1')).toBe(root.digest);
    await intact('minimum:v1');
  });

  test('a neighbour that cannot be read does not fail the push', async () => {
    const root = await smallImage(store, 'neighbours', [5000]);
    let tried = 0;
    const proxy = await proxied((_, __, request) =>
      request.url?.includes('from=') && ++tried ? { status: 403 } : undefined,
    );
    await push(`${proxy.host}/neighbour/one:v1`, root);
    expect(await push(`${proxy.host}/neighbour/two:v1`, root)).toMatchObject({ mounted: 0, uploaded: tried });
    expect(tried).toBeGreaterThan(0);
    expect(await tagOf('neighbour/two:v1')).toBe(root.digest);
  });

  test('two at once: both succeed, one image', async () => {
    const root = await smallImage(store, 'two at once', [big, 90_000]);
    // Patient: the registry rewrites links in place, so each push may see those of the other half written.
    const patient = { retryDelay: 200, retries: 8 };
    const results = await Promise.all([1, 2].map(() => push(`${real}/both:v1`, root, patient)));
    expect(results).toHaveLength(2);
    expect(await tagOf('both:v1')).toBe(root.digest);
    await intact('both:v1');
  });
});

describeUnless(registry.skip, 'what does not pass', () => {
  const older = async (name: string): Promise<string> => {
    const before = await smallImage(store, `before ${name}`, [1000]);
    await push(`${real}/${name}`, before);
    return before.digest;
  };

  test.each<[string, Parameters<typeof startProxy>[1], Partial<KinaError>, RegExp]>([
    [
      'a login is wanted in the middle',
      (m, p) => (m === 'PUT' && uploads.test(p) ? { status: 401 } : undefined),
      { code: 'network' },
      /docker login 127\.0\.0\.1/,
    ],
    [
      'writing is forbidden',
      (m) => (m === 'POST' ? { status: 403, body: 'denied: not yours' } : undefined),
      { code: 'network', details: ['server message: denied: not yours'] },
      /docker login/,
    ],
    [
      'bytes change on the way',
      (m, p) => (m === 'PUT' && uploads.test(p) ? 'corrupt' : undefined),
      { code: 'network' },
      /does not accept/,
    ],
    [
      'the registry stays down',
      (m) => (m === 'PUT' ? { status: 503 } : undefined),
      { code: 'network' },
      /Try again later/,
    ],
    [
      'it says that it stored something else',
      (m, p) =>
        m === 'PUT' && /manifests\/sha256/.test(p)
          ? { answer: { 'docker-content-digest': `sha256:${'0'.repeat(64)}` } }
          : undefined,
      { code: 'integrity' },
      /push elsewhere/,
    ],
    [
      'it does not say where to upload to',
      (m) => (m === 'POST' ? { status: 202 } : undefined),
      { code: 'network' },
      /may not be a registry/,
    ],
    [
      'it sends the upload to another scheme',
      (m) => (m === 'POST' ? { status: 202, headers: { location: 'ftp://x/y' } } : undefined),
      { code: 'network' },
      /may not be a registry/,
    ],
  ])('%s: the tag stays what it was', async (title, fault, error, hint) => {
    const name = `fails/${title.replaceAll(' ', '-')}:v1`;
    const before = await older(name);
    const root = await smallImage(store, title, [big, 70_000]);
    const proxy = await proxied(fault);
    const thrown = await failure(push(`${proxy.host}/${name}`, root, { retries: 1 }));
    expect(thrown).toMatchObject(error);
    expect(thrown.hint).toMatch(hint);
    expect(await tagOf(name)).toBe(before);
    // And then, without the fault, it goes through.
    await push(`${real}/${name}`, root);
    expect(await tagOf(name)).toBe(root.digest);
  });

  test('a blob that is damaged while it travels in pieces is called so, not the registry', async () => {
    const root = await smallImage(store, 'damaged pieces', [34 << 20]);
    const [{ digest: victim }] = (await layersOf(root)).filter(({ size }) => size > 1 << 20) as [Descriptor];
    const proxy = await proxied((_, __, request) =>
      Number(request.headers['content-length']) > 20 << 20 ? { status: 413 } : undefined,
    );
    const path = store.blobPath(victim);
    chmodSync(path, 0o600);
    writeFileSync(path, Buffer.alloc(34 << 20, 7));
    const error = await failure(push(`${proxy.host}/damaged:v1`, root));
    expect(error).toMatchObject({ code: 'store', message: expect.stringContaining('was damaged') });
    expect(await tagOf('damaged:v1')).toBe('no such image');
  });

  test('a damaged blob of the store never completes an upload', async () => {
    const root = await smallImage(store, 'damage', [200_000]);
    const good = storeImage(store, root);
    const bad = {
      ...good,
      async *blob(blob: BlobRef) {
        let last: Uint8Array | undefined;
        for await (const chunk of good.blob(blob)) last = chunk;
        const changed = Buffer.from(last!);
        changed[0]! ^= 1;
        yield changed;
        throw new Error('the store was damaged');
      },
    };
    const proxy = await proxied(() => undefined);
    const error = await failure(
      pushImage({
        image: bad,
        references: [parseReference(`${proxy.host}/damage:v1`)],
        transport: transport({ retries: 0 }),
        reporter: silent,
        store,
      }),
    );
    expect(error.message + String(error.cause)).toContain('damaged');
    expect(proxy.received()).toBe(0); // all of it was one piece, which was held back
    expect(await tagOf('damage:v1')).toBe('no such image');
  });
});

describeUnless(registry.skip, 'on the way in', () => {
  const pull = async (ref: string, into: Store): Promise<void> => {
    const http = transport();
    const fetcher = new Fetcher({ store: into, transport: http, reporter: silent });
    const tools = { store: into, transport: http, fetcher, signal: undefined };
    const source = await openLocation({ type: 'registry', ref }, tools);
    await source.prepare((await partsOf(source)).parts);
  };
  const fresh = () => Store.open(mkdtempSync(join(folder, 'store-')));

  test('an answer that is cut is continued', async () => {
    await push(`${real}/in:v1`);
    let cuts = 3;
    const proxy = await proxied((m, p) =>
      m === 'GET' && p.includes('/blobs/') && cuts-- > 0 ? 'truncate' : undefined,
    );
    const into = await fresh();
    await pull(`${proxy.host}/in:v1`, into);
    for (const { digest } of await layersOf(image)) expect(await into.has(digest)).toBe(true);
  });

  test('a registry that lies about a manifest or a blob is not believed', async () => {
    await push(`${real}/in:v1`);
    const other = await smallImage(store, 'another image', [70_000]);
    await push(`${real}/in:other`, other);
    const wrong = {
      status: 200,
      headers: { 'content-type': image.mediaType },
      body: '{"schemaVersion":2,"manifests":[]}',
    };
    for (const path of [/manifests\/sha256/, /blobs\/sha256/]) {
      const proxy = await proxied((m, p) => (m === 'GET' && path.test(p) ? wrong : undefined));
      const into = await fresh();
      expect((await failure(pull(`${proxy.host}/in:v1`, into))).code).toMatch(/integrity|network/);
      for (const { digest } of await layersOf(image)) expect(await into.has(digest)).toBe(false);
    }
  });
});

async function layersOf(root: Descriptor) {
  return (await partsOf(storeImage(store, root))).parts;
}

/** A registry that keeps what it has of an upload that broke off, as the specification describes it. */
async function startResumable(breaks: number[]) {
  const uploads = new Map<string, Buffer>();
  const stored = new Set<string>();
  const log: string[] = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url!, 'http://x');
    const id = /uploads\/(\w+)/.exec(url.pathname)?.[1];
    log.push(`${request.method} ${request.headers['content-range'] ?? ''}`.trim());
    const where = (at: string) => ({
      location: `/v2/r/blobs/uploads/${at}`,
      range: `0-${Math.max(0, uploads.get(at)!.length - 1)}`,
    });
    if (request.method === 'HEAD') return void response.writeHead(stored.has(url.pathname) ? 200 : 404).end();
    if (request.method === 'POST') {
      const at = `u${uploads.size}`;
      uploads.set(at, Buffer.alloc(0));
      return void response.writeHead(202, where(at)).end();
    }
    if (request.method === 'GET') return void response.writeHead(204, where(id!)).end();
    if (url.pathname.includes('/manifests/'))
      return void request.resume().once('end', () => {
        stored.add(url.pathname);
        response.writeHead(201).end();
      });
    const stop = Number(request.headers['content-length']) > 1 << 20 ? breaks.shift() : undefined;
    request.on('data', (chunk: Buffer) => {
      uploads.set(id!, Buffer.concat([uploads.get(id!)!, chunk]));
      if (stop !== undefined && uploads.get(id!)!.length > stop) request.socket.destroy();
    });
    request.on('end', () => {
      const digest = url.searchParams.get('digest');
      if (!digest) return void response.writeHead(202, where(id!)).end();
      const actual = `sha256:${createHash('sha256').update(uploads.get(id!)!).digest('hex')}`;
      if (actual === digest) stored.add(`/v2/r/blobs/${digest}`);
      response.writeHead(actual === digest ? 201 : 400).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closing.push(() => new Promise((done) => [server.close(done), server.closeAllConnections()]));
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, log, stored };
}

describe('an upload that breaks off', () => {
  test('goes on where it stopped', async () => {
    const root = await smallImage(store, 'resumed', [8 << 20]);
    const server = await startResumable([2 << 20, 5 << 20]);
    await push(`${server.host}/r:v1`, root);
    const ranges = server.log.flatMap((line) => /PATCH (\d+)-(\d+)/.exec(line)?.slice(1, 3).map(Number) ?? []);
    expect(ranges[0]).toBeGreaterThan(2 << 20);
    expect(ranges[2]).toBeGreaterThan(5 << 20);
    expect(ranges[3]).toBe((8 << 20) - 1);
    expect(server.stored).toContain('/v2/r/manifests/v1');
  });
});
