/** What other people's tools make of kina's outputs. A shared misunderstanding of writer and reader would show here. */
import { spawn } from 'node:child_process';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import type { Compression } from '../../../src/oci/compress.ts';
import { type OutputType, writeOutput } from '../../../src/oci/output/output.ts';
import { imageArchive } from '../../../src/oci/output/preload.ts';
import type { Architecture } from '../../../src/oci/platform.ts';
import { storeImage } from '../../../src/oci/store/image.ts';
import { check, run } from '../../support/command.ts';
import { type EngineName, engineRequirements, startEngine } from '../../support/engine.ts';
import { describeWith, pathOf } from '../../support/requirements.ts';
import { importImages, newStore, scratch, smallImage } from '../../unit/oci/fixture.ts';

const ref = 'localhost/kina/tools-test:v1';
const host: Architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';
const forms = [undefined, { kind: 'gzip' }, { kind: 'zstd' }] as const satisfies readonly (Compression | undefined)[];
const both: readonly Architecture[] = ['amd64', 'arm64'];

async function output(
  type: OutputType,
  architectures: readonly Architecture[],
  compression?: Compression,
  name = ref,
  text = 'hello\n',
): Promise<{ dest: string; digest: string }> {
  const store = await newStore();
  const { index } = await smallImage(store, architectures, compression, text);
  const dest = join(await scratch(), type === 'oci' ? 'layout' : 'image.tar');
  await writeOutput({ store, image: storeImage(store, index), refs: [name], type, dest });
  return { dest, digest: index.digest };
}

describeWith('skopeo', ['skopeo'], () => {
  test.each(['oci', 'oci-archive'] as const)('inspects %s by its full reference, each platform', async (type) => {
    const { dest } = await output(type, both, { kind: 'zstd' });
    for (const architecture of both) {
      const said = await check(['skopeo', '--override-arch', architecture, 'inspect', `${type}:${dest}:${ref}`]);
      expect(JSON.parse(said)).toMatchObject({ Architecture: architecture, Created: '2020-01-01T00:00:00Z' });
    }
  });

  test('an archive of one name needs no name; the digest is the index as built', async () => {
    const { dest, digest } = await output('oci-archive', [host]);
    const raw = await check(['skopeo', 'inspect', '--format', '{{.Digest}}', `oci-archive:${dest}`]);
    expect(raw).toBe(digest);
  });

  test('reads the docker-archive and copies it, verifying every digest', async () => {
    const { dest } = await output('docker-archive', [host], { kind: 'zstd' });
    const copy = join(await scratch(), 'copy');
    await check(['skopeo', '--insecure-policy', 'copy', `docker-archive:${dest}:${ref}`, `oci:${copy}:x`]);
    expect(await readdir(copy)).toContain('index.json');
  });

  test('the store itself is a layout that it reads', async () => {
    const store = await newStore();
    await store.tag(ref, (await smallImage(store, [host])).index);
    const said = await check(['skopeo', 'inspect', `oci:${store.root}:${ref}`]);
    expect(JSON.parse(said)).toMatchObject({ Architecture: host });
  });

  test('what skopeo writes is imported: docker-archive (layers as links) and OCI archive', async () => {
    const { dest } = await output('oci', [host]);
    for (const type of ['docker-archive', 'oci-archive']) {
      const file = join(await scratch(), 'theirs.tar');
      const copy = ['skopeo', '--insecure-policy', 'copy', `oci:${dest}:${ref}`, `${type}:${file}:${ref}`];
      await check(copy);
      const [image] = await importImages(await newStore(), file);
      expect(image).toMatchObject({ names: [ref], platform: { architecture: host } });
      expect(image?.diffIds).toHaveLength(1);
    }
  });
});

describeWith('umoci', ['umoci', 'root'], () => {
  // umoci 0.4 knows no zstd and no platforms: of an index with several, skopeo picks one first.
  test.each([undefined, { kind: 'gzip' }] as const)('unpacks one platform (%o)', async (compression) => {
    const { dest } = await output('oci', [host], compression);
    const bundle = join(await scratch(), 'bundle');
    await check(['umoci', 'unpack', '--image', `${dest}:${ref}`, bundle]);
    expect(await readFile(join(bundle, 'rootfs/etc/hello'), 'utf8')).toBe('hello\n');
  });

  test.for(both)('unpacks %s out of a layout of two platforms', async (architecture, context) => {
    if (!pathOf('skopeo')) return context.skip('skopeo is not installed: nothing picks one platform');
    const { dest } = await output('oci', both);
    const one = join(await scratch(), 'one');
    const pick = ['--insecure-policy', '--override-arch', architecture, 'copy'];
    await check(['skopeo', ...pick, `oci:${dest}:${ref}`, `oci:${one}:x`]);
    await check(['umoci', 'unpack', '--image', `${one}:x`, join(one, 'bundle')]);
    expect(await readFile(join(one, 'bundle/rootfs/etc/hello'), 'utf8')).toBe('hello\n');
  });
});

for (const name of ['podman', 'docker'] as const satisfies readonly EngineName[])
  describeWith(`${name} load`, engineRequirements[name], () => {
    test('takes one platform in every form, under the full name, and keeps the config', async () => {
      const engine = await startEngine(name);
      onTestFinished(() => engine.close());
      const old = name === 'docker' && (await dockerMajor()) < 23;
      for (const compression of forms)
        for (const type of ['docker-archive', 'oci-archive'] as const) {
          // Docker reads zstd layers from version 23 on.
          if (old && type === 'oci-archive' && compression?.kind === 'zstd') continue;
          const form = `${ref}-${type}-${compression?.kind ?? 'tar'}`;
          // Content of its own: a layer that the engine has already is not unpacked again and would prove nothing.
          const { dest } = await output(type, [host], compression, form, form);
          const loaded = await engine.load(dest);
          expect(loaded).toBe(form);
          const { Architecture, Config } = await engine.inspect(loaded);
          expect([Architecture, Config.Labels]).toEqual([host, { 'dev.kina.recipe': 'test' }]);
        }
    });

    if (name === 'podman')
      test('takes its own platform of two', async () => {
        const engine = await startEngine(name);
        onTestFinished(() => engine.close());
        const loaded = await engine.load((await output('oci-archive', both)).dest);
        expect((await engine.inspect(loaded)).Architecture).toBe(host);
      });
  });

describeWith('containerd', ['containerd', 'ctr', 'root'], () => {
  test('imports preloaded images under their names, configs and so image ids unchanged', async () => {
    const store = await newStore();
    await store.tag(ref, (await smallImage(store, [host], { kind: 'zstd' })).index);
    const [image] = await importImages(store, store.root);
    const names = ['registry.k8s.io/kube-proxy:v1.2.3', 'registry.k8s.io/pause:3.9'];
    const archive = await imageArchive(
      store,
      names.map((one) => ({ ...image!, name: one })),
    );
    const folder = await scratch();
    const file = join(folder, 'preload.tar');
    const parts = archive.segments.map((part) => ('bytes' in part ? part.bytes : readFile(part.file)));
    await writeFile(file, Buffer.concat(await Promise.all(parts)));

    const ctr = await startContainerd(folder);
    await check([...ctr, 'images', 'import', '--no-unpack', file]);
    expect((await check([...ctr, 'images', 'ls', '--quiet'])).split('\n')).toEqual(names);
    const content = await check([...ctr, 'content', 'ls', '--quiet']);
    expect(content.split('\n')).toContain(image!.config.digest);
  });

  test.each(forms)('imports an archive of two platforms (%o): the name keeps its index', async (compression) => {
    const { dest, digest } = await output('oci-archive', both, compression);
    const ctr = await startContainerd(await scratch());
    await check([...ctr, 'images', 'import', '--no-unpack', '--all-platforms', dest]);
    const [, line = ''] = (await check([...ctr, 'images', 'ls'])).split('\n');
    expect(line.split(/\s+/).slice(0, 3)).toEqual([ref, 'application/vnd.oci.image.index.v1+json', digest]);
  });
});

async function dockerMajor(): Promise<number> {
  return Number(/version (\d+)\./.exec(await check([pathOf('dockerd')!, '--version']))?.[1]);
}

/** A containerd of its own, without CRI; the arguments that reach it. */
async function startContainerd(folder: string): Promise<string[]> {
  const [root, state, address] = ['root', 'state', 'sock'].map((name) => join(folder, name));
  await mkdir(root!, { recursive: true });
  const config = join(folder, 'config.toml');
  const plugins = ['io.containerd.grpc.v1.cri', 'io.containerd.cri.v1.images', 'io.containerd.cri.v1.runtime'];
  await writeFile(
    config,
    `version = 2\nroot = "${root}"\nstate = "${state}"\ndisabled_plugins = ${JSON.stringify(plugins)}\n[grpc]\naddress = "${address}"\n`,
  );
  const daemon = spawn(pathOf('containerd')!, ['--config', config], { stdio: 'ignore' });
  onTestFinished(async () => {
    const gone = new Promise((done) => daemon.once('exit', done));
    daemon.kill('SIGTERM');
    await gone;
  });
  const ctr = ['ctr', '--address', address!, '--namespace', 'k8s.io'];
  for (let attempt = 0; (await run([...ctr, 'version'])).code !== 0; attempt++) {
    if (attempt > 60) throw new Error('containerd does not answer');
    await sleep(250);
  }
  return ctr;
}
