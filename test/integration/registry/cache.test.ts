/**
 * Work shared between machines through a registry: the second machine moves what its output needs and builds nothing, and
 * an entry that was tampered with is refused.
 */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sha256 } from '../../../src/host/json.ts';
import { check } from '../../support/command.ts';
import { type Bench, digestIn, openBench, smallRecipe } from '../../support/kina.ts';
import { startProxy } from '../../support/proxy.ts';
import { startRegistry } from '../../support/registry.ts';
import { describeUnless } from '../../support/requirements.ts';

const registry = await startRegistry();
const host = registry.skip !== undefined ? '' : registry.host;
const manifestType = 'application/vnd.oci.image.manifest.v1+json';
const both = ['--platform', 'linux/amd64,linux/arm64'];
let bench: Bench;
const cache = `${host}/ci/cache`;

interface Manifest {
  config: { digest: string; size: number };
  layers: { mediaType: string; digest: string; size: number }[];
  annotations: Record<string, string>;
}
/** Of images; entries of layers are tested in cache-layers.heavy.test.ts. */
const tags = async (): Promise<string[]> =>
  JSON.parse(await check(['skopeo', 'list-tags', '--tls-verify=false', `docker://${cache}`])).Tags.filter(
    (tag: string) => /^kina-[0-9a-f]{64}$/.test(tag),
  );
const manifestOf = async (tag: string): Promise<Manifest> =>
  (await fetch(`http://${host}/v2/ci/cache/manifests/${tag}`, {
    headers: { accept: 'application/vnd.oci.image.manifest.v1+json' },
  }).then((answer) => answer.json())) as Manifest;
async function put(path: string, type: string, body: string | Buffer): Promise<void> {
  const answer = await fetch(`http://${host}/v2/ci/cache/${path}`, {
    method: 'PUT',
    headers: { 'content-type': type },
    body: new Uint8Array(Buffer.from(body)),
  });
  expect(answer.status).toBe(201);
}
async function putBlob(body: Buffer): Promise<{ digest: string; size: number }> {
  const begun = await fetch(`http://${host}/v2/ci/cache/blobs/uploads/`, { method: 'POST' });
  const digest = sha256(body);
  const where = new URL(begun.headers.get('location')!, `http://${host}`);
  where.searchParams.set('digest', digest);
  const headers = { 'content-type': 'application/octet-stream' };
  expect((await fetch(where, { method: 'PUT', headers, body: new Uint8Array(body) })).status).toBe(201);
  return { digest, size: body.length };
}

describeUnless(registry.skip, 'a cache in a registry', () => {
  let first: string;
  beforeAll(async () => {
    bench = await openBench();
    first = digestIn(await bench.build(both));
    const kept = await bench.build([...both, '--cache-to', cache]);
    expect(digestIn(kept)).toBe(first);
    expect(kept.stderr).not.toContain('WARNING');
    expect(await tags()).toHaveLength(2); // an entry for each platform
  });
  afterAll(async () => {
    await bench?.close();
    if (registry.skip === undefined) await registry.stop();
  });

  test('an empty machine in another folder: the same digest, no artifact fetched, few bytes moved', async () => {
    const lock = join(bench.folder, 'both.lock');
    const source = ['v1.34.2', '--recipe', smallRecipe, ...both, '--mirror', bench.upstream.url];
    expect((await bench.kina(['lock', ...source, '--output', lock])).code).toBe(0);
    const before = bench.upstream.requests.length;
    const proxy = await startProxy(host, () => undefined);
    const cwd = await bench.place('elsewhere');
    const args = [...both, '--lock', lock, '--cache-from', `${proxy.host}/ci/cache`];
    const result = await bench.build(args, { store: 'second', cwd });
    await proxy.stop();
    expect(digestIn(result)).toBe(first);
    expect(result.stderr).not.toContain('Wrote layers');
    expect(bench.upstream.requests.slice(before)).toEqual([]);
    let carried = 0;
    for (const tag of await tags()) for (const { size } of (await manifestOf(tag)).layers) carried += size;
    expect(proxy.sent()).toBeLessThan(carried + 30_000);
    expect((await bench.kina(['image', 'verify', 'localhost/kina/small:v1.34.2'], { store: 'second' })).code).toBe(0);
  });

  test('one changed value is another key; nothing is taken that does not fit', async () => {
    const plain = digestIn(await bench.build(['--set', 'motd=other'], { store: 'third' }));
    const cached = await bench.build(['--set', 'motd=other', '--cache-from', cache], { store: 'fourth' });
    expect(digestIn(cached)).toBe(plain);
    expect(cached.stderr).not.toContain('WARNING');
    expect(cached.stderr).toContain('Wrote layers');
  });

  test('compressed images too', async () => {
    const args = ['--compression', 'zstd'];
    const zstd = digestIn(await bench.build([...args, '--cache-to', cache]));
    const again = await bench.build([...args, '--cache-from', cache], { store: 'fifth' });
    expect(digestIn(again)).toBe(zstd);
    expect(again.stderr).not.toContain('Wrote layers');
  });

  test.each<[string, (tag: string, entry: Manifest, all: string[]) => Promise<void>, RegExp]>([
    [
      'moved from another key',
      async (tag, _, all) => {
        const other = await manifestOf(all.find((one) => one !== tag)!);
        await put(`manifests/${tag}`, manifestType, JSON.stringify(other));
      },
      /it is for another key/,
    ],
    [
      'moved, and its annotation with it',
      async (tag, entry, all) => {
        const other = await manifestOf(all.find((one) => one !== tag)!);
        const forged = { ...other, annotations: entry.annotations };
        await put(`manifests/${tag}`, manifestType, JSON.stringify(forged));
      },
      /its record is for something else/,
    ],
    [
      'with a layer of another',
      async (tag, entry) => {
        const zstd = await check(['sh', '-c', 'printf evil | zstd -q | base64']);
        const evil = await putBlob(Buffer.from(zstd, 'base64'));
        const layers = [...entry.layers];
        layers[3] = { ...layers[3]!, ...evil };
        await put(
          `manifests/${tag}`,
          'application/vnd.oci.image.manifest.v1+json',
          JSON.stringify({ ...entry, layers }),
        );
      },
      /mismatch|different content/,
    ],
    [
      'with a layer that unpacks without end',
      async (tag, entry) => {
        const bomb = await check(['sh', '-c', 'head -c 2G /dev/zero | zstd -q -1 | base64']);
        const layers = [...entry.layers];
        layers[3] = { ...layers[3]!, ...(await putBlob(Buffer.from(bomb, 'base64'))) };
        await put(`manifests/${tag}`, manifestType, JSON.stringify({ ...entry, layers }));
      },
      /mismatch/,
    ],
    [
      'with a layer less',
      async (tag, entry) => {
        const forged = { ...entry, layers: entry.layers.slice(0, -1) };
        await put(`manifests/${tag}`, manifestType, JSON.stringify(forged));
      },
      /do not match/,
    ],
  ])('an entry %s is refused, and the image built', async (title, tamper, words) => {
    const all = await tags();
    const saved = new Map(await Promise.all(all.map(async (tag) => [tag, await manifestOf(tag)] as const)));
    for (const [tag, entry] of saved) await tamper(tag, entry, all);
    try {
      const result = await bench.build([...both, '--cache-from', cache], { store: `poisoned ${title}` });
      expect(digestIn(result)).toBe(first);
      expect(result.stderr).toMatch(words);
      expect(result.stderr).toContain(`WARNING: the cache ${cache} is not used`);
    } finally {
      for (const [tag, entry] of saved) await put(`manifests/${tag}`, manifestType, JSON.stringify(entry));
    }
  });

  test('a cache that is down costs a warning, and a tag is a mistake', async () => {
    const proxy = await startProxy(host, () => ({ status: 403 }));
    const down = ['--cache-from', `${proxy.host}/ci/cache`, '--cache-to', `${proxy.host}/ci/cache`];
    const result = await bench.build([...both, ...down], { store: 'down' });
    await proxy.stop();
    expect(digestIn(result)).toBe(first);
    expect(result.stderr).toContain('is not used');
    expect(result.stderr).toContain('nothing is kept');
    expect((await bench.build(['--cache-from', `${cache}:v1`])).code).toBe(2);
  });
});
