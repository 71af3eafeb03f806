/**
 * Images that share only some layers: what is shared comes from the cache as one blob and none of its artifacts is asked
 * for, the result is the one that a machine without a cache makes, and entries that do not fit are refused layer by layer.
 */
import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sha256 } from '../../../src/host/json.ts';
import { check } from '../../support/command.ts';
import { type Bench, digestIn, openBench, smallRecipe } from '../../support/kina.ts';
import { startProxy } from '../../support/proxy.ts';
import { startRegistry } from '../../support/registry.ts';
import { describeUnless } from '../../support/requirements.ts';

const registry = await startRegistry();
const host = registry.skip !== undefined ? '' : registry.host;
const cache = `${host}/ci/cache`;
const manifestType = 'application/vnd.oci.image.manifest.v1+json';
let bench: Bench;

interface Manifest {
  artifactType: string;
  config: { digest: string; size: number };
  layers: { mediaType: string; digest: string; size: number }[];
  annotations: Record<string, string>;
}
const url = (path: string): string => `http://${host}/v2/ci/cache/${path}`;
const manifestOf = async (tag: string): Promise<Manifest> =>
  (await (await fetch(url(`manifests/${tag}`), { headers: { accept: manifestType } })).json()) as Manifest;
const layerTags = async (): Promise<string[]> =>
  JSON.parse(await check(['skopeo', 'list-tags', '--tls-verify=false', `docker://${cache}`])).Tags.filter(
    (tag: string) => tag.startsWith('kina-layer-'),
  );
const blobOf = async (digest: string): Promise<Buffer> =>
  Buffer.from(await (await fetch(url(`blobs/${digest}`))).arrayBuffer());
async function put(tag: string, manifest: Manifest): Promise<void> {
  const headers = { 'content-type': manifestType };
  const answer = await fetch(url(`manifests/${tag}`), { method: 'PUT', headers, body: JSON.stringify(manifest) });
  expect(answer.status).toBe(201);
}
async function putBlob(body: Buffer): Promise<{ digest: string; size: number }> {
  const begun = await fetch(url('blobs/uploads/'), { method: 'POST' });
  const where = new URL(begun.headers.get('location')!, `http://${host}`);
  const digest = sha256(body);
  where.searchParams.set('digest', digest);
  const headers = { 'content-type': 'application/octet-stream' };
  expect((await fetch(where, { method: 'PUT', headers, body: new Uint8Array(body) })).status).toBe(201);
  return { digest, size: body.length };
}
/** `--lock FILE`: with one, a build asks upstream for nothing but artifacts. */
async function locked(source: string, recipe = smallRecipe): Promise<string[]> {
  const file = join(bench.folder, `${source}-${basename(recipe)}.lock`);
  const from = ['--recipe', recipe, '--platform', 'linux/amd64', '--mirror', bench.upstream.url];
  expect((await bench.kina(['lock', source, ...from, '--output', file])).code).toBe(0);
  return ['--recipe', recipe, '--lock', file];
}
/** What was asked of upstream meanwhile. */
async function asked(work: () => Promise<void>): Promise<string[]> {
  const start = bench.upstream.requests.length;
  await work();
  return bench.upstream.requests.slice(start);
}

describeUnless(registry.skip, 'layers in a cache', () => {
  beforeAll(async () => {
    bench = await openBench();
    digestIn(await bench.build(['--cache-to', cache]));
    expect(await layerTags()).toHaveLength(3); // the layers made from downloads: runtime, kubernetes, images
  });
  afterAll(async () => {
    await bench?.close();
    if (registry.skip === undefined) await registry.stop();
  });

  test('another patch release: what did not change comes from the cache, and the image is the same', async () => {
    const next = ['v1.34.3', '--compression', 'zstd', ...(await locked('v1.34.3'))];
    const plain = digestIn(await bench.buildFrom(next, { store: 'plain' }));
    const proxy = await startProxy(host, () => undefined);
    const requests = await asked(async () => {
      const cached = await bench.buildFrom([...next, '--cache-from', `${proxy.host}/ci/cache`], { store: 'cached' });
      expect(digestIn(cached)).toBe(plain);
      expect(cached.stderr).not.toContain('WARNING');
    });
    await proxy.stop();
    expect(requests.filter((path) => /containerd|runc|crictl/.test(path))).toEqual([]);
    expect(requests.filter((path) => /kubelet|kube-proxy/.test(path))).toHaveLength(2);
    // Of one entry the record, what the steps brought, the layer; of the others nothing.
    expect(proxy.requests.filter((request) => /^GET .*\/blobs\//.test(request))).toHaveLength(3);
    const sizes = (await Promise.all((await layerTags()).map(manifestOf))).map(({ layers, config }) =>
      layers.reduce((sum, { size }) => sum + size, config.size),
    );
    expect(proxy.sent()).toBeLessThan(Math.max(...sizes) + 10_000);
  });

  test('another layer may take files away and change folders: the entry serves, the image is the same', async () => {
    const recipe = join(bench.folder, 'mine.yaml');
    const steps = [
      { file: { path: 'usr/local/sbin/runc', content: 'not runc', mode: '0700' }, replace: true },
      { directories: { paths: { 'usr/local/bin': '0700' } } },
    ];
    await writeFile(recipe, JSON.stringify({ name: 'mine', extends: smallRecipe, layers: [{ name: 'mine', steps }] }));
    const mine = await locked('v1.34.2', recipe);
    const small = await locked('v1.34.2');
    const plain = digestIn(await bench.build(mine, { store: 'mine' }));
    const taking = await asked(async () => {
      expect(digestIn(await bench.build([...mine, '--cache-from', cache], { store: 'mine too' }))).toBe(plain);
    });
    expect(taking).toEqual([]);
    // And what this image leaves of the layer serves one that takes nothing away.
    const other = `${host}/ci/other`;
    digestIn(await bench.build([...mine, '--cache-to', other], { store: 'mine' }));
    const whole = digestIn(await bench.build(small));
    const giving = await asked(async () => {
      expect(digestIn(await bench.build([...small, '--cache-from', other], { store: 'back' }))).toBe(whole);
    });
    expect(giving).toEqual([]);
  });

  test('a finished image gives its layers to a cache that lacks them, without fetching anything', async () => {
    const late = `${host}/ci/late`;
    const args = await locked('v1.34.2');
    expect(await asked(async () => void digestIn(await bench.build([...args, '--cache-to', late])))).toEqual([]);
    const { Tags } = JSON.parse(await check(['skopeo', 'list-tags', '--tls-verify=false', `docker://${late}`]));
    expect(Tags).toHaveLength(4);
  });

  test.each<[string, (tag: string, entry: Manifest, others: Manifest[]) => Promise<Manifest>, RegExp]>([
    ['with the key of another', async (_tag, _entry, [other]) => other!, /it is for another key/],
    [
      'of another, its annotation changed',
      async (_tag, entry, [other]) => ({ ...other!, annotations: entry.annotations }),
      /its record is for something else/,
    ],
    [
      'with the blob of another',
      async (_tag, entry, [other]) => ({ ...entry, layers: [entry.layers[0]!, other!.layers[1]!] }),
      /do not match/,
    ],
    [
      'whose record names another blob, which unpacks to something else',
      async (_tag, entry, [other]) => {
        const record = JSON.parse((await blobOf(entry.config.digest)).toString());
        const config = {
          ...entry.config,
          ...(await putBlob(Buffer.from(JSON.stringify({ ...record, blob: other!.layers[1]!.digest })))),
        };
        return { ...entry, config, layers: [entry.layers[0]!, other!.layers[1]!] };
      },
      /mismatch|different content/,
    ],
    [
      'whose steps bring what is not in the layer',
      async (_tag, entry, [other]) => {
        const record = JSON.parse((await blobOf(entry.config.digest)).toString());
        const brought = other!.layers[0]!;
        const config = {
          ...entry.config,
          ...(await putBlob(Buffer.from(JSON.stringify({ ...record, brought: brought.digest })))),
        };
        return { ...entry, config, layers: [brought, entry.layers[1]!] };
      },
      /are not in the layer/,
    ],
    [
      'of another kind of entry',
      async (_tag, entry) => ({ ...entry, artifactType: 'application/vnd.kina.cache.image.v1' }),
      /not an entry of this kind/,
    ],
  ])('an entry %s is refused, the layer built, and the entry written anew', async (title, tamper, words) => {
    const all = await layerTags();
    const saved = new Map(await Promise.all(all.map(async (tag) => [tag, await manifestOf(tag)] as const)));
    for (const [tag, entry] of saved)
      await put(
        tag,
        await tamper(
          tag,
          entry,
          [...saved].filter(([other]) => other !== tag).map(([, one]) => one),
        ),
      );
    const args = ['--set', `motd=${title}`]; // its finished image is kept: each needs another
    const clean = digestIn(await bench.build(args, { store: 'clean' }));
    const both = [...args, '--cache-from', cache, '--cache-to', cache];
    const result = await bench.build(both, { store: `poisoned ${title}` });
    expect(digestIn(result)).toBe(clean);
    expect(result.stderr).toMatch(words);
    expect(result.stderr.match(/is not used/g)).toHaveLength(3);
    for (const [tag, entry] of saved) expect((await manifestOf(tag)).config).toEqual(entry.config);
  });

  test('a truncated response is not a layer', async () => {
    const entries = await Promise.all((await layerTags()).map(manifestOf));
    const blobs = new Set(entries.map(({ layers }) => layers[1]!.digest));
    const proxy = await startProxy(host, (method, path) =>
      method === 'GET' && blobs.has(path.split('/').at(-1)!) ? 'truncate' : undefined,
    );
    const args = ['--set', 'motd=cut'];
    const clean = digestIn(await bench.build(args, { store: 'clean' }));
    const from = [...args, '--cache-from', `${proxy.host}/ci/cache`];
    const result = await bench.build(from, { store: 'cut' });
    await proxy.stop();
    expect(digestIn(result)).toBe(clean);
    expect(result.stderr).toContain('is not used');
  });

  test('--no-cache takes nothing, and what it makes is kept', async () => {
    const where = `${host}/ci/fresh`;
    const args = ['--no-cache', '--cache-from', cache, '--cache-to', where];
    const requests = await asked(async () => void digestIn(await bench.build(args, { store: 'no cache' })));
    expect(requests.length).toBeGreaterThan(5);
    const { Tags } = JSON.parse(await check(['skopeo', 'list-tags', '--tls-verify=false', `docker://${where}`]));
    expect(Tags).toHaveLength(4);
  });
});
