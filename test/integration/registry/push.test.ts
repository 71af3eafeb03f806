/**
 * Pushing and pulling with a real registry, judged by skopeo: what the command line says is what is there, only what is
 * missing moves, and what comes back is what went out.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { check, run } from '../../support/command.ts';
import { type Bench, digestIn, openBench } from '../../support/kina.ts';
import { startProxy } from '../../support/proxy.ts';
import { startRegistry } from '../../support/registry.ts';
import { describeUnless } from '../../support/requirements.ts';

const registry = await startRegistry();
const host = registry.skip !== undefined ? '' : registry.host;
let bench: Bench;
const built: { plain?: string; zstd?: string } = {};
const small = 'localhost/kina/small:v1.34.2';

interface Index {
  manifests: { digest: string; platform: { architecture: string } }[];
}
const raw = async (ref: string): Promise<string> =>
  check(['skopeo', 'inspect', '--raw', '--tls-verify=false', `docker://${ref}`]);
const rawDigest = async (ref: string): Promise<string> =>
  check(['sh', '-c', `skopeo inspect --raw --tls-verify=false docker://${ref} | sha256sum`]).then(
    (line) => `sha256:${line.slice(0, 64)}`,
  );

describeUnless(registry.skip, 'a real registry', () => {
  beforeAll(async () => {
    bench = await openBench();
    built.plain = digestIn(await bench.build(['--platform', 'linux/amd64,linux/arm64']));
    built.zstd = digestIn(
      await bench.build(['--platform', 'linux/amd64,linux/arm64', '--compression', 'zstd', '--tag', 'zstd:1']),
    );
  });
  afterAll(async () => {
    await bench?.close();
    if (registry.skip === undefined) await registry.stop();
  });

  test('two platforms out and into another store: one digest everywhere, and again nothing moves', async () => {
    const ref = `${host}/kina/small:v1`;
    const pushed = await bench.kina(
      ['push', small, ref, `${host}/kina/small:latest`, '--metadata-file', 'pushed.json'],
      {
        env: { GITHUB_OUTPUT: join(bench.folder, 'outputs') },
      },
    );
    // Compressed while it is pushed, the image is the one that a compressed build makes.
    expect(pushed).toMatchObject({
      code: 0,
      stdout: `${ref}@${built.zstd}\n${host}/kina/small:latest@${built.zstd}\n`,
    });
    expect(await rawDigest(ref)).toBe(built.zstd);
    expect(await rawDigest(`${host}/kina/small:latest`)).toBe(built.zstd);
    const index = JSON.parse(await raw(ref)) as Index;
    expect(index.manifests.map(({ platform }) => platform.architecture)).toEqual(['amd64', 'arm64']);
    for (const { platform, digest } of index.manifests) {
      const manifest = JSON.parse(await raw(`${host}/kina/small@${digest}`)) as { layers: { mediaType: string }[] };
      expect(manifest.layers.every(({ mediaType }) => mediaType.endsWith('tar+zstd'))).toBe(true);
      const seen = JSON.parse(
        await check([
          'skopeo',
          'inspect',
          '--tls-verify=false',
          '--override-arch',
          platform.architecture,
          `docker://${ref}`,
        ]),
      );
      expect(seen.Architecture).toBe(platform.architecture);
    }
    expect(JSON.parse(await readFile(join(bench.folder, 'pushed.json'), 'utf8'))).toMatchObject({
      'containerimage.digest': built.zstd,
      'image.name': `${ref},${host}/kina/small:latest`,
    });
    expect(await readFile(join(bench.folder, 'outputs'), 'utf8')).toContain(
      `digest=${built.zstd}\nimage=${ref}@${built.zstd}\n`,
    );

    const pulled = await bench.kina(['pull', ref], { store: 'second' });
    expect(pulled).toMatchObject({ code: 0, stdout: `${ref}@${built.zstd}\n` });
    expect((await bench.kina(['image', 'verify', ref], { store: 'second' })).code).toBe(0);

    for (const [name, store] of [
      [small, 'store'],
      [ref, 'second'],
    ] as const) {
      const again = await bench.kina(['push', name, ref, '--json'], { store });
      expect(JSON.parse(again.stdout)).toMatchObject({
        digest: built.zstd,
        uploaded: 0,
        mounted: 0,
        bytes: 0,
        manifests: 0,
      });
    }
  });

  test('one platform of several is an image of its own, pushed or pulled', async () => {
    const ref = `${host}/kina/one:v1`;
    const pushed = digestIn(await bench.kina(['push', small, ref, '--platform', 'linux/arm64', '--quiet']));
    const pulled = await bench.kina(['pull', `${host}/kina/small:v1`, '--platform', 'arm64'], { store: 'third' });
    expect(digestIn(pulled)).toBe(pushed);
    expect((JSON.parse(await raw(ref)) as Index).manifests).toHaveLength(1);
    const absent = await bench.kina(['pull', ref, '--platform', 'amd64'], { store: 'third' });
    expect(absent).toMatchObject({ code: 1, stdout: '' });
    expect(absent.stderr).toContain('is not available for linux/amd64');
  });

  test('what a neighbouring repository has is mounted, not sent', async () => {
    const mounted = await bench.kina(['push', small, `${host}/other/name:v1`, '--json']);
    expect(JSON.parse(mounted.stdout)).toMatchObject({ uploaded: 0, bytes: 0 });
    expect(JSON.parse(mounted.stdout).mounted).toBeGreaterThan(2);
    expect(await rawDigest(`${host}/other/name:v1`)).toBe(built.zstd);
  });

  test.each([
    ['gzip', 'tar+gzip'],
    ['none', '.tar'],
  ])('--compression %s is what the layers get', async (kind, ending) => {
    const ref = `${host}/kina/${kind}:v1`;
    const pushed = digestIn(await bench.kina(['push', 'zstd:1', ref, '--compression', kind]));
    const index = JSON.parse(await raw(ref)) as Index;
    for (const { digest } of index.manifests) {
      const manifest = JSON.parse(await raw(`${host}/kina/${kind}@${digest}`)) as { layers: { mediaType: string }[] };
      expect(manifest.layers.every(({ mediaType }) => mediaType.endsWith(ending))).toBe(true);
    }
    if (kind === 'none') expect(pushed).toBe(built.plain);
    // skopeo reads every layer and checks it against the config.
    await check([
      'skopeo',
      'copy',
      '--all',
      '--src-tls-verify=false',
      `docker://${ref}`,
      `oci:${join(bench.folder, kind)}:v1`,
    ]);
  });

  test('kina build --push: the answer is what is in the registry, and the store has the same', async () => {
    const ref = `${host}/kina/built:v1`;
    const result = await bench.build(['--platform', 'linux/amd64,linux/arm64', '--tag', ref, '--push']);
    expect(result).toMatchObject({ code: 0, stdout: `${ref}@${built.zstd}\n` });
    expect(await rawDigest(ref)).toBe(built.zstd);
    const nowhere = await bench.build(['--push']);
    expect(nowhere).toMatchObject({ code: 2, stdout: '' });
    expect(nowhere.stderr).toContain('the image to push has no name');
  });

  test.each([
    'push localhost/kina/small:v1.34.2',
    'push localhost/kina/small:v1.34.2 localhost/other:v1',
    'copy oci:layout localhost/other:v1',
    'build node-image --tag localhost/other:v1 --push',
  ])('a name below localhost without a port is refused: %s', async (line) => {
    const refused = await bench.kina(line.split(' '));
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toMatch(/cannot push to localhost\/\S+: localhost without a port is not a registry/);
    expect(refused.stderr).toContain('REGISTRY/NAME:TAG');
  });

  test('kina copy: every form to every other keeps the digest', async () => {
    const ref = `${host}/kina/small:v1`;
    const forms = ['oci:layout', `${host}/copied/layout:v1`, 'oci-archive:image.tar', `${host}/copied/archive:v1`];
    let from = ref;
    for (const to of forms) {
      const copied = await bench.kina(['copy', from, to], { store: `copy-${forms.indexOf(to)}` });
      expect(copied).toMatchObject({ code: 0, stdout: `${to}@${built.zstd}\n` });
      from = to;
    }
    expect(await rawDigest(`${host}/copied/archive:v1`)).toBe(built.zstd);
    // From one repository to another nothing travels, not even to this machine.
    const within = await bench.kina(['copy', ref, `${host}/copied/within:v1`, '--json'], { store: 'copy-within' });
    expect(JSON.parse(within.stdout)).toMatchObject({ uploaded: 0, bytes: 0 });
    expect(within.stderr).not.toContain('Fetched');
  });

  test('kina copy takes what docker saves, and makes it', async () => {
    const one = `${host}/kina/one:v1`;
    const two = await bench.kina(['copy', `${host}/kina/small:v1`, 'docker-archive:two.tar'], { store: 'copy-two' });
    expect(two).toMatchObject({ code: 2, stdout: '' });
    expect(two.stderr).toContain('a docker-archive holds one platform, not 2');
    expect(two.stderr).not.toContain('Fetch');
    const saved = await bench.kina(['copy', one, `docker-archive:saved.tar:saved:1`]);
    expect(saved.code).toBe(0);
    const back = `${host}/copied/saved:v1`;
    expect((await bench.kina(['copy', 'docker-archive:saved.tar', back], { store: 'copy-saved' })).code).toBe(0);
    const config = async (ref: string): Promise<string> =>
      check([
        'skopeo',
        'inspect',
        '--config',
        '--raw',
        '--tls-verify=false',
        '--override-arch=arm64',
        `docker://${ref}`,
      ]);
    expect(await config(back)).toBe(await config(one));
  });

  test.each([
    ['a blob', /^PUT .*uploads/],
    ['a manifest', /^PUT .*manifests.sha256/],
    ['the tag', /^PUT .*manifests.v1/],
  ])('killed when %s is sent, and done again', async (what, moment) => {
    const name = `killed/${what.replace(' ', '-')}`;
    const reached = Promise.withResolvers<void>();
    const proxy = await startProxy(host, (method, path) => {
      if (moment.test(`${method} ${path}`)) reached.resolve();
      return undefined;
    });
    try {
      const running = bench.run(['push', small, `${proxy.host}/${name}:v1`]);
      await reached.promise;
      running.process.kill('SIGKILL');
      await running.ended;
      const between = await run(['skopeo', 'inspect', '--raw', '--tls-verify=false', `docker://${host}/${name}:v1`]);
      // Either it is not there, or it is there and whole; the tag is the last thing that is written.
      if (between.code === 0) expect(await rawDigest(`${host}/${name}:v1`)).toBe(built.zstd);
      expect(digestIn(await bench.kina(['push', small, `${proxy.host}/${name}:v1`]))).toBe(built.zstd);
      await check([
        'skopeo',
        'copy',
        '--all',
        '--src-tls-verify=false',
        `docker://${host}/${name}:v1`,
        `oci:${join(bench.folder, name.replace('/', '-'))}:v1`,
      ]);
    } finally {
      await proxy.stop();
    }
  });

  test('plain HTTP is spoken to this machine, and to whom it was asked for', async () => {
    // 127.0.0.1 in a spelling that is not taken for this machine.
    const elsewhere = `[::ffff:7f00:1]:${host.split(':')[1]}/kina/insecure:v1`;
    const refused = await bench.kina(['push', small, elsewhere]);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain('TLS failed');
    const insecure = ['--insecure-registry', elsewhere.slice(0, elsewhere.indexOf('/'))];
    // Mirrors are for reading: a push that went to one would have ended somewhere else.
    const pushed = await bench.kina(['push', small, elsewhere, ...insecure], {
      env: { KINA_MIRROR: 'http://127.0.0.1:1' },
    });
    expect(pushed).toMatchObject({ code: 0, stdout: `${elsewhere}@${built.zstd}\n` });
    expect(digestIn(await bench.kina(['pull', elsewhere, ...insecure], { store: 'insecure' }))).toBe(built.zstd);
  });

  test('names that cannot be pushed to, and missing images', async () => {
    const digest = `sha256:${'0'.repeat(64)}`;
    for (const [args, words] of [
      [['push', small, `${host}/x@${digest}`], 'the digest is computed from the content'],
      [['push', small, 'Bad/Name'], 'not an image reference'],
      [['copy', small, `oci-archive:`], 'a path is missing'],
      [['push', small, `${host}/x:1`, '--insecure-registry', 'http://x/'], 'expected HOST or HOST:PORT'],
    ] as const) {
      const result = await bench.kina([...args]);
      expect(result).toMatchObject({ code: 2, stdout: '' });
      expect(result.stderr).toContain(words);
    }
    expect((await bench.kina(['push', 'no/such:image', `${host}/x:1`])).stderr).toContain('image not found');
    const missing = await bench.kina(['pull', `${host}/no/such:image`]);
    expect(missing).toMatchObject({ code: 1, stdout: '' });
    expect(missing.stderr).toContain('does not exist');
    await writeFile(join(bench.folder, 'junk.tar'), 'junk');
    expect((await bench.kina(['copy', 'oci-archive:junk.tar', `${host}/x:1`])).code).toBe(1);
  });
});
