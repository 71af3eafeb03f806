/** CRI's rules for images, against a real registry; and the disks, against umoci's unpacking and the kernel. */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, onTestFinished, test } from 'vitest';
import { ImageLibrary, type PullCredentials } from '../../../src/cri/images/library.ts';
import type { TransportOptions } from '../../../src/host/http.ts';
import { type Descriptor, mediaType } from '../../../src/oci/descriptor.ts';
import { hostPlatform } from '../../../src/oci/platform.ts';
import { Store } from '../../../src/oci/store/store.ts';
import { foreignImage, type Piece } from '../../support/foreign-image.ts';
import { startMirror } from '../../support/mirror.ts';
import { startRegistry } from '../../support/registry.ts';
import { describeUnless, missing, testUnless } from '../../support/requirements.ts';
import { differences, withMounted } from '../../support/trees.ts';

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), 'kina-cri-images-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const registry = await startRegistry();
const host = registry.skip === undefined ? registry.host : '';
afterAll(() => registry.skip ?? registry.stop());
const mirror = await startMirror();
afterAll(() => mirror.skip ?? mirror.stop());

const base: Piece[] = [
  { name: 'etc', type: 'directory', mode: 0o755 },
  { name: 'etc/passwd', content: 'root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/sh\n' },
  { name: 'etc/group', content: 'root:x:0:\n' },
  { name: 'big', content: Buffer.alloc(3 << 20, 'kina') },
];
/** Where images are made; what is pushed from it is not in the stores that pull. */
const workshop = await Store.open(join(folder, 'workshop'));

/** Pushes an image of `base` and one more file under several names. */
async function push(
  text: string,
  names: readonly string[],
  options: { user?: string; compression?: 'gzip' | 'zstd'; docker?: boolean } = {},
): Promise<Descriptor> {
  const config = options.user === undefined ? {} : { User: options.user };
  const compression = options.docker ? 'gzip' : options.compression;
  const image = await foreignImage(workshop, [base, [{ name: 'own', content: text }]], {
    config,
    ...(compression ? { compression: { kind: compression } } : {}),
  });
  await workshop.tag('made', image);
  for (const name of names)
    await run('skopeo', [
      'copy',
      '--dest-tls-verify=false',
      ...(options.docker ? ['--format', 'v2s2'] : ['--preserve-digests']),
      `oci:${workshop.root}:made`,
      `docker://${host}/${name}`,
    ]);
  return image;
}

/** A library with a store of its own, in a folder that goes with the test. */
async function newLibrary(network: TransportOptions = {}, root = mkdtempSync(join(folder, 'library-'))) {
  const store = await Store.open(join(root, 'store'));
  const options = { root, store, platform: hostPlatform(), network: { retries: 0, ...network } };
  return { images: await ImageLibrary.open(options), store, root };
}

const blobsIn = (store: Store): string[] => readdirSync(join(store.root, 'blobs/sha256'));

describeUnless(registry.skip, 'images of a registry', () => {
  test('by tag: the tag and the digest are listed, and every spelling finds the same image', async () => {
    const made = await push('by tag', ['rules/tag:v1', 'rules/tag:latest']);
    const { images } = await newLibrary();
    expect(await images.status(`${host}/rules/tag:v1`)).toBeUndefined();
    const id = await images.pull(`${host}/rules/tag:v1`);
    const digest = `${host}/rules/tag@${made.digest}`;
    const image = await images.status(id);
    expect(image).toMatchObject({ id, repoTags: [`${host}/rules/tag:v1`], repoDigests: [digest], pinned: false });
    expect(image?.size).toBeGreaterThan(3 << 20);
    for (const spelling of [digest, `${host}/rules/tag:v1`, `${host}/rules/tag:other@${made.digest}`, id.slice(7, 20)])
      expect(await images.status(spelling)).toEqual(image);
    expect(await images.list()).toEqual([image]);
    expect(await images.list(id)).toEqual([image]);
    expect(await images.list(`${host}/rules/other`)).toEqual([]);
    // without a tag it is :latest, here the same image
    expect(await images.pull(`${host}/rules/tag`)).toBe(id);
    expect((await images.status(id))?.repoTags).toEqual([`${host}/rules/tag:latest`, `${host}/rules/tag:v1`]);
  });

  test('by digest: no tag is listed', async () => {
    const { digest } = await push('by digest', ['rules/digest:v1']);
    const { images } = await newLibrary();
    const id = await images.pull(`${host}/rules/digest@${digest}`);
    expect(await images.status(id)).toMatchObject({ repoTags: [], repoDigests: [`${host}/rules/digest@${digest}`] });
  });

  test('one image under three names and in three forms is one image, unpacked once', async () => {
    await push('forms', ['forms/gzip:v1'], { compression: 'gzip' });
    await push('forms', ['forms/zstd:v1'], { compression: 'zstd' });
    await push('forms', ['forms/plain:v1', 'forms/plain:v2']);
    const { images } = await newLibrary();
    const ids = [];
    for (const name of ['gzip:v1', 'zstd:v1', 'plain:v1', 'plain:v2'])
      ids.push(await images.pull(`${host}/forms/${name}`));
    expect(new Set(ids).size).toBe(1);
    expect(await images.list()).toHaveLength(1);
    expect((await images.status(ids[0]!))?.repoTags).toHaveLength(4);
    expect(readdirSync(images.disks)).toHaveLength(1);
  });

  test('Docker’s schema 2', async () => {
    await push('docker', ['forms/docker:v1'], { docker: true });
    const { images } = await newLibrary();
    const { passwd, group, config } = await images.open(await images.pull(`${host}/forms/docker:v1`));
    expect([passwd.split('\n')[1], group]).toEqual(['www-data:x:33:33::/:/bin/sh', 'root:x:0:\n']);
    expect(config.os).toBe('linux');
  });

  test('a tag that moved is on the new image; the old one stays until it is removed', async () => {
    await push('moves 1', ['moves:v1']);
    const { images } = await newLibrary();
    const before = await images.pull(`${host}/moves:v1`);
    await push('moves 2', ['moves:v1']);
    const after = await images.pull(`${host}/moves:v1`);
    expect(after).not.toBe(before);
    expect(await images.status(before)).toMatchObject({ repoTags: [], repoDigests: [expect.any(String)] });
    expect((await images.status(`${host}/moves:v1`))?.id).toBe(after);
    await images.remove(before);
    expect((await images.list()).map(({ id }) => id)).toEqual([after]);
  });

  test.each([
    ['1002', { uid: 1002 }],
    ['www-data', { username: 'www-data' }],
    ['1003:1004', { uid: 1003 }],
    ['www-data:1004', { username: 'www-data' }],
  ])('the user %s', async (user, expected) => {
    await push(user, ['users:v1'], { user });
    const { images } = await newLibrary();
    expect((await images.status(await images.pull(`${host}/users:v1`)))?.user).toEqual(expected);
  });

  test('removing by one name removes all; unknown images and five at once are fine; nothing stays', async () => {
    await push('removed', ['gone:v1', 'gone:v2'], { compression: 'gzip' });
    const { images, store } = await newLibrary();
    const id = await images.pull(`${host}/gone:v1`);
    await images.pull(`${host}/gone:v2`);
    expect(images.fsInfo().usedBytes).toBeGreaterThan(3 << 20);
    await images.remove('nothing/of/this/name');
    await Promise.all(Array.from({ length: 5 }, () => images.remove(`${host}/gone:v1`)));
    expect([await images.list(), await images.status(id), await images.status(`${host}/gone:v2`)]).toEqual([
      [],
      undefined,
      undefined,
    ]);
    expect([readdirSync(images.disks), blobsIn(store)]).toEqual([[], []]);
    expect(images.fsInfo()).toEqual({ mountpoint: images.mountpoint, usedBytes: 0, inodesUsed: 0 });
    await expect(images.open(id)).rejects.toMatchObject({ code: 'not-found' });
  });

  test('what another image was made from stays, so does what the store has under a name', async () => {
    const one = await push('shares 1', ['shares:v1'], { compression: 'gzip' });
    await push('shares 2', ['shares:v2'], { compression: 'gzip' });
    const { images, store } = await newLibrary();
    const first = await images.pull(`${host}/shares:v1`);
    const second = await images.pull(`${host}/shares:v2`);
    const all = blobsIn(store).length;
    await images.remove(first);
    expect(all - blobsIn(store).length).toBe(3); // manifest, config and the layer of its own
    await images.pull(`${host}/shares:v1`);
    await store.tag('other/name:v1', one);
    await images.remove(first);
    await images.remove(second);
    expect(blobsIn(store)).toHaveLength(4);
  });

  test('a removed image’s disk stays while a container uses it, also over a restart', async () => {
    await push('in use', ['used:v1']);
    const { images, root } = await newLibrary();
    const id = await images.pull(`${host}/used:v1`);
    const { disk } = await images.open(id);
    images.retain(id);
    images.retain(id);
    await images.remove(id);
    expect(await images.list()).toEqual([]);
    await images.release(id);
    expect((await stat(disk)).isFile()).toBe(true);
    // the next process learns from its containers who uses what, and sweeps then
    const { images: later } = await newLibrary({}, root);
    later.retain(id);
    await later.sweep();
    expect((await stat(disk)).isFile()).toBe(true);
    // pulled again while it is in use: the same disk, in its place
    const { ino } = await stat(disk);
    expect(await later.pull(`${host}/used:v1`)).toBe(id);
    expect((await stat(disk)).ino).toBe(ino);
    await later.remove(id);
    await later.release(id);
    await expect(stat(disk)).rejects.toThrow(/ENOENT/);
  });

  test('pulls at once share the work; one that is cancelled ends at once and harms no other', async () => {
    await push('together', ['together:v1', 'together:v2'], { compression: 'gzip' });
    const { images } = await newLibrary();
    const stop = new AbortController();
    const left = images.pull(`${host}/together:v1`, undefined, stop.signal);
    const others = Promise.all(['v1', 'v1', 'v2'].map((tag) => images.pull(`${host}/together:${tag}`)));
    stop.abort();
    await expect(left).rejects.toMatchObject({ code: 'interrupted' });
    expect(new Set(await others).size).toBe(1);
    expect([readdirSync(images.disks).length, readdirSync(join(images.mountpoint, 'tmp'))]).toEqual([1, []]);
  });

  test('a pull whose last caller left is given up, wherever it is', async () => {
    await push('given up', ['given-up:v1'], { compression: 'gzip' });
    const { images } = await newLibrary();
    for (const delay of [0, 1, 5, 20, 40]) {
      const signal = AbortSignal.timeout(delay);
      const result = await images.pull(`${host}/given-up:v1`, undefined, signal).catch((error) => error.code);
      if (result !== 'interrupted') break; // it was quicker than the deadline
    }
    const id = await images.pull(`${host}/given-up:v1`);
    expect((await images.list()).map((one) => one.id)).toEqual([id]);
    await expect.poll(() => readdirSync(join(images.mountpoint, 'tmp'))).toEqual([]);
  });

  test('a missing image, and an invalid name', async () => {
    const { images } = await newLibrary();
    await expect(images.pull(`${host}/nothing:v1`)).rejects.toMatchObject({ code: 'not-found' });
    await expect(images.pull('NOT A NAME')).rejects.toMatchObject({ code: 'usage' });
  });

  test('through a mirror, the names are those that were asked for', async () => {
    await push('mirrored', ['mirrored:v1']);
    const { images } = await newLibrary({ hostMirrors: { 'registry.example': `http://${host}` } });
    const id = await images.pull('registry.example/mirrored:v1');
    expect((await images.status(id))?.repoTags).toEqual(['registry.example/mirrored:v1']);
  });

  test('killed at any moment: the next start finds whole images and no leftovers', async () => {
    await push('killed', ['killed:v1'], { compression: 'gzip' });
    const root = mkdtempSync(join(folder, 'library-'));
    const program = `
      import { ImageLibrary } from ${JSON.stringify(join(import.meta.dirname, '../../../src/cri/images/library.ts'))};
      import { Store } from ${JSON.stringify(join(import.meta.dirname, '../../../src/oci/store/store.ts'))};
      import { hostPlatform } from ${JSON.stringify(join(import.meta.dirname, '../../../src/oci/platform.ts'))};
      const [root, ref] = process.argv.slice(1);
      const store = await Store.open(root + '/store');
      const images = await ImageLibrary.open({ root, store, platform: hostPlatform(), network: {} });
      process.stdout.write('go');
      for (;;) await images.remove(await images.pull(ref));
    `;
    for (let i = 0; i < 8; i++) {
      const args = ['--input-type=module', '-e', program, root, `${host}/killed:v1`];
      const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
      const gone = new Promise((resolve) => child.once('exit', resolve));
      await new Promise((resolve) => child.stdout.once('data', resolve));
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 150));
      child.kill('SIGKILL');
      await gone;
      const { images } = await newLibrary({}, root);
      await images.sweep();
      const listed = await images.list();
      expect(readdirSync(images.disks)).toHaveLength(listed.length);
      expect(readdirSync(join(images.mountpoint, 'records'))).toHaveLength(listed.length);
      expect(readdirSync(join(images.mountpoint, 'tmp'))).toEqual([]);
      for (const { id } of listed) execFileSync('e2fsck', ['-fn', (await images.open(id)).disk], { stdio: 'pipe' });
    }
  });
});

/** `user` and the bcrypt of `secret`, as `htpasswd -B` writes it. */
const htpasswd = 'user:$2y$04$GjrscmdIY1cZqRiqTol6seddpIJ/m7qJTx9HVrTxkgb2lyQ7Lo6Iy\n';

describeUnless(registry.skip, 'a registry with a login', () => {
  test('the request’s login opens it, another one and none do not', async () => {
    const file = join(folder, 'htpasswd');
    writeFileSync(file, htpasswd);
    const closed = await startRegistry({ auth: `{ htpasswd: { realm: kina, path: ${JSON.stringify(file)} } }` });
    if (closed.skip !== undefined) throw new Error(closed.skip);
    onTestFinished(() => closed.stop());
    await workshop.tag('made', await foreignImage(workshop, [base]));
    await run('skopeo', [
      'copy',
      '--dest-tls-verify=false',
      '--dest-creds',
      'user:secret',
      `oci:${workshop.root}:made`,
      `docker://${closed.host}/private:v1`,
    ]);
    const { images } = await newLibrary();
    const pull = (credentials?: PullCredentials) => images.pull(`${closed.host}/private:v1`, credentials);
    for (const credentials of [undefined, { username: 'user', password: 'wrong' }, { auth: btoa('user:no') }])
      await expect(pull(credentials)).rejects.toMatchObject({ code: 'network' });
    const id = await pull({ username: 'user', password: 'secret' });
    expect(await pull({ auth: btoa('user:secret') })).toBe(id);
    // the image is here, but who has no login does not get it by name from the registry
    await expect(pull()).rejects.toMatchObject({ code: 'network' });
  });
});

describeUnless(
  registry.skip ?? missing(['root', 'umoci', 'mount', 'losetup']),
  'the disk as the kernel shows it',
  () => {
    const odd: Piece[][] = [
      [
        { name: 'usr', type: 'directory', mode: 0o755 },
        { name: 'usr/bin', type: 'directory', mode: 0o2775, uid: 5, gid: 70_000 },
        { name: 'usr/bin/tool', content: 'tool', mode: 0o4755, uid: 3_000_000 },
        {
          name: 'usr/bin/alias',
          type: 'link',
          linkname: 'usr/bin/tool',
          mode: 0o4755,
          uid: 3_000_000,
        },
        { name: 'bin', type: 'symlink', linkname: 'usr/bin' },
        { name: 'null', type: 'character-device', mode: 0o666, devmajor: 1, devminor: 3 },
        { name: 'pipe', type: 'fifo', mode: 0o600 },
        { name: 'cap', content: 'c', pax: { mtime: '1600000000.123456789', 'SCHILY.xattr.user.note': 'n' } },
        { name: 'old', type: 'directory', mode: 0o755 },
        { name: 'old/a', content: 'a' },
        { name: 'old/b', content: 'b' },
        { name: 'gone', content: 'gone' },
      ],
      [
        { name: '.wh.gone', content: '' },
        { name: 'old', type: 'directory', mode: 0o700, mtime: new Date(9e11) },
        { name: 'old/.wh..wh..opq', content: '' },
        { name: 'old/c', content: 'c', mtime: new Date(9e11) },
      ],
    ];

    /** Unpacks an image of the store with umoci, and compares. */
    async function compare(store: Store, name: string, disk: string): Promise<void> {
      const place = mkdtempSync(join(folder, 'compare-'));
      await run('umoci', ['unpack', '--image', `${store.root}:${name}`, join(place, 'bundle')]);
      mkdirSync(join(place, 'disk'));
      await withMounted(disk, join(place, 'disk'), async () => {
        expect(await differences(join(place, 'bundle/rootfs'), join(place, 'disk'))).toEqual([]);
      });
    }

    test('is what umoci unpacks, entry by entry', async () => {
      await workshop.tag('odd', await foreignImage(workshop, odd, { compression: { kind: 'gzip' } }));
      await run('skopeo', ['copy', '--dest-tls-verify=false', `oci:${workshop.root}:odd`, `docker://${host}/odd:v1`]);
      const { images } = await newLibrary();
      const { disk } = await images.open(await images.pull(`${host}/odd:v1`));
      await compare(workshop, 'odd', disk);
    });

    testUnless(mirror.skip, 'also for an image of Kubernetes', async () => {
      const { images, store } = await newLibrary({ mirrors: [mirror.skip === undefined ? mirror.url : ''] });
      const { image, disk } = await images.open(await images.pull('k8s.gcr.io/kube-proxy:v1.20.2'));
      const parts = blobsIn(store).map((hex) => readFileSync(store.blobPath(`sha256:${hex}`)));
      const manifest = parts.find((bytes) => bytes[0] === 0x7b && JSON.parse(`${bytes}`).config?.digest === image.id)!;
      // umoci reads OCI's own types only
      const converted = `${manifest}`
        .replaceAll(mediaType.dockerLayerGzip, mediaType.layerGzip)
        .replaceAll(mediaType.dockerConfig, mediaType.config)
        .replaceAll(mediaType.dockerManifest, mediaType.manifest);
      await store.tag('proxy', { mediaType: mediaType.manifest, ...(await store.writeBytes(converted)) });
      await compare(store, 'proxy', disk);
    });
  },
);
