/**
 * The way of an image through a team: one machine builds two platforms and pushes them with their documents and a cache;
 * another machine, with an empty store, in another folder and time zone, builds the same from the lock and the cache. The
 * digest is one, the bytes are counted, and skopeo, crane and oras see what kina says is there.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { check } from '../../support/command.ts';
import { type Bench, digestIn, openBench, smallRecipe, version } from '../../support/kina.ts';
import { startProxy } from '../../support/proxy.ts';
import { startRegistry } from '../../support/registry.ts';
import { describeUnless, describeWith } from '../../support/requirements.ts';

const registry = await startRegistry();
const host = registry.skip !== undefined ? '' : registry.host;
const ref = `${host}/team/node:v1`;
const both = ['--platform', 'linux/amd64,linux/arm64'];
let bench: Bench;
let lock: string;
let digest: string;

interface Manifest {
  config: { digest: string; size: number };
  layers: { digest: string; size: number }[];
}
interface Index {
  manifests: { digest: string; size: number; platform: { os: string; architecture: string } }[];
}
const skopeoRaw = (image: string): Promise<string> =>
  check(['skopeo', 'inspect', '--raw', '--tls-verify=false', `docker://${image}`]);
const at = (inner: string): string => `${host}/team/node@${inner}`;
const platformsOf = ({ manifests }: Index): string[] =>
  manifests.map(({ platform: { os, architecture } }) => `${os}/${architecture}`);

describeUnless(registry.skip, 'round trip', () => {
  beforeAll(async () => {
    bench = await openBench();
    lock = join(bench.folder, 'team.lock');
    const source = [version, '--recipe', smallRecipe, ...both, '--mirror', bench.upstream.url];
    expect((await bench.kina(['lock', ...source, '--output', lock])).code).toBe(0);
    const push = ['--tag', ref, '--push', '--sbom', '--provenance', '--cache-to', `${host}/team/cache`];
    const { stdout } = await bench.build([...both, '--lock', lock, ...push, '--json']);
    const answer = JSON.parse(stdout);
    digest = answer.digest;
    // The cache was given all of it before: nothing travels twice.
    expect(answer.pushed).toMatchObject({ uploaded: 0, bytes: 0 });
    expect(answer.pushed.mounted).toBeGreaterThan(5);
  });
  afterAll(async () => {
    await bench?.close();
    if (registry.skip === undefined) await registry.stop();
  });

  test('the second machine moves what its output needs, and nothing when it pushes', async () => {
    const start = bench.upstream.requests.length;
    const proxy = await startProxy(host, () => undefined);
    const options = {
      store: 'second',
      cwd: await bench.place('elsewhere'),
      env: { TZ: 'Pacific/Auckland', LANG: 'C' },
      umask: '077',
    };
    const from = ['--lock', lock, '--compression', 'zstd', '--cache-from', `${proxy.host}/team/cache`];
    const built = await bench.build([...both, ...from, '--tag', ref], options);
    const moved = proxy.sent();
    expect(digestIn(built)).toBe(digest);
    expect(built.stderr).not.toContain('WARNING');
    expect(bench.upstream.requests.slice(start)).toEqual([]);

    const blobs = new Map<string, number>();
    let documents = 0;
    for (const { digest: inner, size } of (JSON.parse(await skopeoRaw(ref)) as Index).manifests) {
      const { config, layers } = JSON.parse(await skopeoRaw(at(inner))) as Manifest;
      documents += size + config.size;
      for (const layer of layers) blobs.set(layer.digest, layer.size);
    }
    const needed = [...blobs.values()].reduce((sum, size) => sum + size, documents);
    expect(moved).toBeGreaterThanOrEqual(needed);
    // Beyond that, for each platform, the entry and its record.
    expect(moved - needed).toBeLessThan(2 * 4096);

    const pushed = await bench.kina(['push', ref, '--json'], options);
    expect(JSON.parse(pushed.stdout)).toMatchObject({ digest, uploaded: 0, mounted: 0, bytes: 0, manifests: 0 });
    expect(proxy.received()).toBe(0);
    await proxy.stop();
    expect((await bench.kina(['verify', `docker://${ref}`], options)).code).toBe(0);
  });

  test('skopeo: the index, its manifests, and every layer against its config', async () => {
    const raw = await check(['sh', '-c', `skopeo inspect --raw --tls-verify=false docker://${ref} | sha256sum`]);
    expect(`sha256:${raw.slice(0, 64)}`).toBe(digest);
    expect(platformsOf(JSON.parse(await skopeoRaw(ref)))).toEqual(['linux/amd64', 'linux/arm64']);
    const layout = join(bench.folder, 'skopeo');
    await check([
      'skopeo',
      'copy',
      '--all',
      '--quiet',
      '--preserve-digests',
      '--src-tls-verify=false',
      `docker://${ref}`,
      `oci:${layout}:v1`,
    ]);
    expect(JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')).manifests[0].digest).toBe(digest);
  });

  describeWith('crane', ['crane'], () => {
    test('sees the same index and platforms, and finds the image sound', async () => {
      expect(await check(['crane', 'digest', '--insecure', ref])).toBe(digest);
      const index = JSON.parse(await check(['crane', 'manifest', '--insecure', ref])) as Index;
      expect(platformsOf(index)).toEqual(['linux/amd64', 'linux/arm64']);
      for (const { digest: inner, platform } of index.manifests) {
        const name = `${platform.os}/${platform.architecture}`;
        expect(await check(['crane', 'digest', '--insecure', '--platform', name, ref])).toBe(inner);
      }
      // Its validator unpacks gzip alone, so every layer is read as it is.
      for (const { digest: inner } of index.manifests)
        for (const { digest: blob } of (
          JSON.parse(await check(['crane', 'manifest', '--insecure', at(inner)])) as Manifest
        ).layers) {
          const sum = await check(['sh', '-c', `crane blob --insecure ${at(blob)} | sha256sum`]);
          expect(`sha256:${sum.slice(0, 64)}`).toBe(blob);
        }
    });
  });

  describeWith('oras', ['oras'], () => {
    const types = async (image: string): Promise<string[]> => {
      const found = JSON.parse(await check(['oras', 'discover', '--plain-http', '--format', 'json', image]));
      return (found.referrers ?? found.manifests ?? []).map((one: { artifactType: string }) => one.artifactType).sort();
    };
    test('sees the same index, and the documents beside it where skopeo sees their list', async () => {
      const descriptor = JSON.parse(await check(['oras', 'manifest', 'fetch', '--plain-http', '--descriptor', ref]));
      expect(descriptor.digest).toBe(digest);
      const platforms = JSON.parse(await skopeoRaw(ref)) as Index;
      for (const { digest: inner, platform } of platforms.manifests) {
        const name = `${platform.os}/${platform.architecture}`;
        const args = ['--plain-http', '--descriptor', '--platform', name, ref];
        expect(JSON.parse(await check(['oras', 'manifest', 'fetch', ...args])).digest).toBe(inner);
      }
      for (const subject of [digest, ...platforms.manifests.map((one) => one.digest)]) {
        const expected = subject === digest ? /in-toto/ : /spdx/;
        const listed = await types(at(subject));
        expect(listed.length).toBeGreaterThan(0);
        expect(listed.join()).toMatch(expected);
        const tag = await skopeoRaw(`${host}/team/node:${subject.replace(':', '-')}`);
        expect((JSON.parse(tag).manifests as { artifactType: string }[]).map((one) => one.artifactType).sort()).toEqual(
          listed,
        );
      }
    });
  });
});
