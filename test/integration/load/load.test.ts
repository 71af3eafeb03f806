/** Loading images into a real containerd, which takes a node's place: the provider runs commands on this machine. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type LoadedNode, loadImages } from '../../../src/cluster/load/load.ts';
import { askNode } from '../../../src/cluster/load/node-images.ts';
import { archiveSource, findSources } from '../../../src/cluster/load/sources.ts';
import { run, start } from '../../../src/host/process.ts';
import { silent } from '../../../src/host/progress.ts';
import { Store } from '../../../src/oci/store/store.ts';
import { EngineProvider } from '../../../src/provider/engine.ts';
import { podman } from '../../../src/provider/engines.ts';
import type { Provider } from '../../../src/provider/provider.ts';
import { check } from '../../support/command.ts';
import { describeWith, pathOf, podmanEnvironment } from '../../support/requirements.ts';
import { type DockerImage, dockerArchive, layerOf, ociArchive, unnamed } from './archives.ts';

const megabyte = 1 << 20;
const diskBytes = 96 * megabyte;
/** A containerd of another version may be named: the folder of its `containerd` and `ctr`. */
const bin = process.env.KINA_TEST_CONTAINERD;

describeWith('loading images', ['root', 'containerd', 'ctr'], () => {
  let folder: string;
  let daemon: ChildProcess;
  let store: Store;
  let provider: Provider;
  /** What travelled in the last import. */
  let travelled = 0;
  const images = new Map<string, DockerImage>();
  let saves = 0;
  let smallDisk = false;

  const at = (name: string) => join(folder, name);
  const env = () => ({ PATH: `${at('bin')}:${process.env.PATH}` });
  const ctr = async (...args: string[]) => check([at('bin/ctr'), '-n', 'k8s.io', ...args]);
  const base = layerOf('base', randomBytes(8 * megabyte));

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kina-load-'));
    const program = (name: string) => (bin ? join(bin, name) : pathOf(name)!);
    await writeFile(
      at('config.toml'),
      `version = 2
root = "${at('root')}"
state = "${at('state')}"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "${at('sock')}"
[ttrpc]
  address = "${at('ttrpc')}"
[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "native"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "native"
[plugins."io.containerd.gc.v1.scheduler"]
  startup_delay = "1h"
`,
    );
    await mkdir(at('bin'));
    // A disk that fills up, for one test.
    await mkdir(at('root'));
    const mounted = await run(['mount', '-t', 'tmpfs', '-o', `size=${diskBytes}`, 'tmpfs', at('root')]);
    smallDisk = mounted.code === 0;
    for (const [name, flags] of [
      ['ctr', `--address ${at('sock')}`],
      ['containerd', `--config ${at('config.toml')}`],
    ]) {
      await writeFile(at(`bin/${name}`), `#!/bin/sh\nexec ${program(name!)} ${flags} "$@"\n`);
      await chmod(at(`bin/${name}`), 0o755);
    }
    let log = '';
    daemon = spawn(at('bin/containerd'), { stdio: ['ignore', 'ignore', 'pipe'] });
    daemon.stderr!.setEncoding('utf8').on('data', (text) => {
      log += text;
    });
    for (let tries = 0; (await run([at('bin/ctr'), 'version'])).code !== 0; tries++) {
      if (tries > 100 || daemon.exitCode !== null) throw new Error(`containerd does not start:\n${log}`);
      await sleep(100);
    }
  });
  afterAll(async () => {
    const ended = new Promise((done) => daemon.once('exit', done));
    daemon.kill();
    await ended;
    if (smallDisk) await check(['umount', at('root')]);
    await rm(folder, { recursive: true, force: true });
  });

  const removeAll = async () => {
    const names = (await ctr('images', 'ls', '-q')).split('\n').filter(Boolean);
    if (names.length > 0) await ctr('images', 'rm', '--sync', ...names);
  };

  beforeEach(async () => {
    await removeAll();
    store = await Store.open(await mkdtemp(at('store-')));
    images.clear();
    saves = 0;
    travelled = 0;
    provider = {
      name: 'docker',
      async exec(_node: string, argv: readonly string[], options: Parameters<Provider['exec']>[2] = {}) {
        const input = options.input as Readable | undefined;
        input?.on('data', (chunk: Buffer) => {
          travelled += chunk.length;
        });
        return run(argv, { ...options, env: env() });
      },
      async image(reference: string) {
        const image = images.get(reference);
        return image && { config: image.config, architecture: 'amd64', names: [reference], labels: {} };
      },
      save(references: readonly string[]) {
        saves++;
        return start(['cat', images.get(references[0]!)!.file]);
      },
    } as unknown as Provider;
  });

  const load = (path: string, nodes = ['one']): Promise<LoadedNode[]> =>
    loadImages(provider, nodes, archiveSource(store, path), silent);
  const named = async () =>
    (await ctr('images', 'ls', '-q')).split('\n').filter((name) => name && !name.startsWith('sha256:'));
  const unpacked = async () => (await ctr('snapshots', '--snapshotter', 'native', 'ls')).split('\n').length - 1;

  test('a docker-archive arrives under its full name, unpacked, with its image id', async () => {
    const image = await dockerArchive(at('a.tar'), 'app:1', [base, layerOf('top', Buffer.from('1'))]);
    const [one] = await load(image.file);
    expect(one).toMatchObject({ loaded: ['docker.io/library/app:1'], right: [], there: 0 });
    expect(await named()).toEqual(['docker.io/library/app:1']);
    expect(await unpacked()).toBe(2);
    expect((await askNode(provider, 'one')).blobs).toContain(image.config);
    expect(JSON.parse(await ctr('content', 'get', image.config))).toMatchObject({ os: 'linux' });
  });

  test('of a changed image its top layer travels and little else; of the same nothing', async () => {
    await load((await dockerArchive(at('a.tar'), 'app:1', [base, layerOf('top', Buffer.from('1'))])).file);
    expect(travelled).toBeGreaterThan(8 * megabyte);
    travelled = 0;
    const changed = await dockerArchive(at('b.tar'), 'app:1', [base, layerOf('top', Buffer.from('2'))]);
    const [one] = await load(changed.file);
    expect(one).toMatchObject({ loaded: ['docker.io/library/app:1'], there: base.length });
    expect(travelled).toBeLessThan(20_000);
    expect(await unpacked()).toBe(3);

    travelled = 0;
    expect(await load(changed.file)).toMatchObject([{ loaded: [], right: ['docker.io/library/app:1'], sent: 0 }]);
    expect(travelled).toBe(0);
    expect(await named()).toEqual(['docker.io/library/app:1']);
  });

  test('another name for what is there brings no layer', async () => {
    const layers = [base, layerOf('top', Buffer.from('1'))];
    await load((await dockerArchive(at('a.tar'), 'app:1', layers)).file);
    travelled = 0;
    await load((await dockerArchive(at('b.tar'), 'app:2', layers)).file);
    expect(travelled).toBeLessThan(20_000);
    expect(await named()).toEqual(['docker.io/library/app:1', 'docker.io/library/app:2']);
  });

  test('OCI archives and compressed ones; only the platform of the node', async () => {
    const other = layerOf('other', randomBytes(megabyte));
    await ociArchive(at('o.tar'), 'registry.example.org/app:1', { amd64: [base], arm64: [other] });
    await check(['gzip', '-k', at('o.tar')]);
    const mine = process.arch === 'arm64' ? other : base;
    const [one] = await load(at('o.tar.gz'));
    expect(one!.sent).toBeLessThan(mine.length + 3000);
    expect(one!.sent).toBeGreaterThan(mine.length);
    travelled = 0;
    expect(await load(at('o.tar'))).toMatchObject([{ loaded: [], right: ['registry.example.org/app:1'] }]);
  });

  test('from an engine: saved once for all nodes, and not at all when they have it', async () => {
    images.set('app:1', await dockerArchive(at('a.tar'), 'app:1', [base]));
    images.set('app:2', await dockerArchive(at('b.tar'), 'app:2', [base, layerOf('top', Buffer.from('2'))]));
    for (const name of ['app:1', 'app:2', 'app:2']) {
      const [source] = await findSources([name], store, [provider]);
      await loadImages(provider, ['one'], source!, silent);
    }
    const before = saves;
    const [source] = await findSources(['app:2'], store, [provider]);
    const result = await loadImages(provider, ['one', 'two'], source!, silent);
    expect(result).toMatchObject([{ right: ['docker.io/library/app:2'] }, { right: ['docker.io/library/app:2'] }]);
    expect(saves).toBe(before);
    // Nor for a node that has nothing, when it was saved for another one.
    await removeAll();
    expect(await loadImages(provider, ['one'], source!, silent)).toMatchObject([
      { loaded: ['docker.io/library/app:2'] },
    ]);
    expect(saves).toBe(before);
    await expect(findSources(['app:3', 'app:1', 'x/y:4'], store, [provider])).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringContaining('app:3, x/y:4'),
    });
  });

  test('what fails leaves nothing, and the old image under its name', async () => {
    const good = await dockerArchive(at('a.tar'), 'app:1', [base]);
    await load(good.file);
    const state = async () => [await ctr('images', 'ls'), await unpacked()];
    const before = await state();
    const broken = await dockerArchive(at('b.tar'), 'app:1', [
      base,
      Buffer.concat([layerOf('top', Buffer.from('2')).subarray(0, 600), Buffer.alloc(900, 7)]),
    ]);
    await expect(load(broken.file)).rejects.toMatchObject({ code: 'cluster', message: expect.stringContaining('one') });
    expect(await state()).toEqual(before);

    await ociArchive(at('d.tar'), 'registry.example.org/app:1', {
      amd64: [layerOf('x', randomBytes(megabyte))],
      arm64: [layerOf('x', randomBytes(megabyte))],
    });
    const bytes = await readFile(at('d.tar'));
    for (let at = 600_000; at < bytes.length - 600_000; at += 400_000) bytes[at]! ^= 1; // in both layers
    await writeFile(at('d.tar'), bytes);
    await expect(load(at('d.tar'))).rejects.toMatchObject({ code: 'integrity' });
    expect(await state()).toEqual(before);
  });

  test('a disk that is full, or would be, is told and left as it was', async (context) => {
    if (!smallDisk) return context.skip('nothing can be mounted here');
    await load((await dockerArchive(at('a.tar'), 'app:1', [layerOf('small', Buffer.from('1'))])).file);
    const state = async () => [await ctr('images', 'ls'), await unpacked()];
    const before = await state();
    travelled = 0;
    const huge = await dockerArchive(at('b.tar'), 'app:1', [layerOf('huge', Buffer.alloc(diskBytes))]);
    await expect(load(huge.file)).rejects.toMatchObject({ code: 'disk-full' });
    expect(travelled).toBe(0);
    // This one fits, but not unpacked as well.
    const large = [1, 2].map((seed) => layerOf(`large${seed}`, Buffer.alloc(diskBytes / 4, seed)));
    const tooLarge = await dockerArchive(at('c.tar'), 'app:1', large);
    await expect(load(tooLarge.file)).rejects.toMatchObject({
      code: 'disk-full',
      message: expect.stringContaining('node one'),
    });
    expect(travelled).toBeGreaterThan(diskBytes / 2);
    expect(await state()).toEqual(before);
    const { free } = await askNode(provider, 'one');
    expect(free).toBeGreaterThan(diskBytes * 0.8);
  });

  describeWith('from podman', ['podman'], () => {
    const name = `localhost/kina-load-test-${process.pid}`;
    const podmanEnv = podmanEnvironment();
    const podmanRun = (...args: string[]) => check(['podman', ...args], { env: podmanEnv, cwd: folder });
    afterAll(() => podmanRun('rmi', '--force', `${name}:1`, `${name}:2`));

    test('what changed is all that is written and sent', async () => {
      Object.assign(process.env, podmanEnv);
      await writeFile(at('base'), randomBytes(4 * megabyte));
      const engine = Object.assign(new EngineProvider(podman), { exec: provider.exec });
      const sizes = [];
      for (const tag of ['1', '2']) {
        await writeFile(at('top'), tag);
        await writeFile(at('Containerfile'), 'FROM scratch\nCOPY base /base\nCOPY top /top\n');
        await podmanRun('build', '--quiet', '--layers', '--tag', `${name}:${tag}`, '.');
        const [source] = await findSources([`${name}:${tag}`], store, [engine]);
        sizes.push((await loadImages(engine, ['one'], source!, silent))[0]!.sent);
        const blobs = await readdir(join(store.root, 'blobs/sha256'));
        const large = await Promise.all(
          blobs.map(async (blob) => (await stat(join(store.root, 'blobs/sha256', blob))).size),
        );
        expect(large.filter((size) => size > megabyte)).toHaveLength(1);
      }
      expect(sizes[0]).toBeGreaterThan(4 * megabyte);
      expect(sizes[1]).toBeLessThan(20_000);
      expect(await named()).toEqual([`${name}:1`, `${name}:2`]);
      expect(await readdir(join(store.root, 'tmp'))).toEqual([]);
    });
  });

  test('what cannot be loaded is said before anything moves', async () => {
    const other = process.arch === 'arm64' ? 'amd64' : 'arm64';
    await ociArchive(at('o.tar'), 'registry.example.org/app:1', { [other]: [base] });
    await expect(load(at('o.tar'))).rejects.toMatchObject({ code: 'platform', hint: expect.stringContaining(other) });
    await unnamed(at('u.tar'), [base]);
    await expect(load(at('u.tar'))).rejects.toMatchObject({ code: 'archive' });
    await expect(load(at('nowhere.tar'))).rejects.toMatchObject({ code: 'not-found' });
    expect([travelled, await named()]).toEqual([0, []]);
  });

  test('a blob that goes between question and import is sent after all', async () => {
    await load((await dockerArchive(at('a.tar'), 'app:1', [base])).file);
    const { exec } = provider;
    let questions = 0;
    provider.exec = async (node, argv, options) => {
      const answer = await exec(node, argv, options);
      // After the first answer the image is removed, and garbage collected.
      if (options?.input === undefined && questions++ === 0) await removeAll();
      return answer;
    };
    const changed = await dockerArchive(at('b.tar'), 'app:2', [base, layerOf('top', Buffer.from('2'))]);
    await load(changed.file);
    expect([questions, await named()]).toEqual([2, ['docker.io/library/app:2']]);
  });
});
