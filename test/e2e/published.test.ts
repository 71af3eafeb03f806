/**
 * A published node image in real hands, with Debian's packages and real releases in it: podman pulls it from the registry
 * by itself and boots it; other machines build it, and another image on the same base, from the cache beside it.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { check, kina } from '../support/command.ts';
import { type Engine, engineRequirements, startEngine } from '../support/engine.ts';
import { kubernetes } from '../support/images.ts';
import { digestIn } from '../support/kina.ts';
import { type Mirror, startMirror } from '../support/mirror.ts';
import { ask, bootState, imageNames, incompleteImages } from '../support/node.ts';
import { type FaultyProxy, startProxy } from '../support/proxy.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { describeWith } from '../support/requirements.ts';

const requirements = ['full tier', ...engineRequirements.podman, 'docker-registry', 'skopeo', 'release files'];

describeWith('a published node image', requirements, () => {
  let folder: string;
  let mirror: Mirror;
  let registry: Registry;
  let engine: Engine | undefined;
  let ref: string;
  let digest: string;
  const both = ['--platform', 'linux/amd64,linux/arm64'];
  const build = (store: string, ...args: string[]) =>
    kina(['build', 'node-image', kubernetes.version, ...args, '--mirror', mirror.url], {
      env: { KINA_CACHE_DIR: join(folder, store) },
      cwd: folder,
      timeout: 900,
    });
  const lock = async (name: string, ...args: string[]): Promise<string> => {
    const file = join(folder, name);
    const made = await kina(['lock', kubernetes.version, ...args, '--output', file, '--mirror', mirror.url], {
      env: { KINA_CACHE_DIR: join(folder, 'first') },
    });
    expect(made.stderr).not.toContain('ERROR');
    return file;
  };
  /** Through a proxy that counts, in MB. */
  async function counted(work: (proxy: FaultyProxy) => Promise<void>): Promise<number> {
    const proxy = await startProxy(registry.host, () => undefined);
    await work(proxy);
    await proxy.stop();
    return proxy.sent() / 1e6;
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kina-published-'));
    mirror = (await startMirror()) as Mirror;
    registry = (await startRegistry()) as Registry;
    ref = `${registry.host}/team/node:${kubernetes.version}`;
    const push = ['--tag', ref, '--push', '--sbom', '--provenance', '--cache-to', `${registry.host}/team/cache`];
    digest = digestIn(await build('first', ...both, '--lock', await lock('both.lock', ...both), ...push));
  });
  afterAll(async () => {
    await engine?.close();
    await registry?.stop();
    await mirror?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test('podman pulls it and boots it', async () => {
    engine = await startEngine('podman');
    await engine.pull(ref);
    const node = await engine.runNode(ref);
    expect(await bootState(node, 180)).toBe('running');
    expect(await imageNames(node)).toEqual(kubernetes.images);
    expect(await incompleteImages(node)).toEqual([]);
    expect(await ask(node, 'kubelet --version')).toBe(`Kubernetes ${kubernetes.version}`);
  });

  test('a machine with an empty store builds the same from the cache, and moves its blobs alone', async () => {
    const asked = mirror.log.length;
    const sizes = new Map<string, number>();
    const raw = (what: string) => check(['skopeo', 'inspect', '--raw', '--tls-verify=false', `docker://${what}`]);
    for (const one of JSON.parse(await raw(ref)).manifests)
      for (const layer of JSON.parse(await raw(`${ref.slice(0, ref.lastIndexOf(':'))}@${one.digest}`)).layers)
        sizes.set(layer.digest, layer.size);
    const needed = [...sizes.values()].reduce((sum, size) => sum + size, 0) / 1e6;
    const moved = await counted(async ({ host }) => {
      const from = ['--lock', join(folder, 'both.lock'), '--compression', 'zstd', '--cache-from', `${host}/team/cache`];
      expect(digestIn(await build('second', ...both, ...from))).toBe(digest);
    });
    expect(moved).toBeGreaterThan(needed);
    expect(moved).toBeLessThan(needed + 0.1);
    expect(mirror.log.slice(asked)).toEqual([]);
    await rm(join(folder, 'second'), { recursive: true });
    console.log(`moved ${moved.toFixed(2)} MB for layers of ${needed.toFixed(2)} MB`);
  });

  test('another image on the same base: three layers and the network image come from the cache, the rest is made', async () => {
    const one = ['--platform', 'linux/amd64', '--set', 'preload=none'];
    const pinned = ['--platform', 'linux/amd64', '--lock', await lock('other.lock', ...one), '--compression', 'zstd'];
    const plain = digestIn(await build('first', ...pinned));
    const asked = mirror.log.length;
    const moved = await counted(async ({ host }) => {
      const cached = await build('third', ...pinned, '--cache-from', `${host}/team/cache`);
      expect(digestIn(cached)).toBe(plain);
      expect(cached.stderr).toMatch(/base .* cached/);
      expect(cached.stderr).not.toMatch(/Fetched \d+ packages|WARNING: the cache/);
    });
    // Of upstream the images of the release; binaries, containerd and Debian's packages are in cached layers.
    const paths = mirror.log.slice(asked).map(({ url }) => url);
    expect(paths.filter((path) => /kubelet|kubeadm|containerd|runc|cni-plugins/.test(path))).toEqual([]);
    expect(paths.some((path) => path.includes('kube-apiserver'))).toBe(true);
    console.log(`moved ${moved.toFixed(2)} MB`);
    expect(moved).toBeLessThan(160);
  });
});
