/** Images read back: small ones, made by our own writer and, where it matters, by GNU tar. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { chmod, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { silent } from '../../../src/host/progress.ts';
import { diffImages } from '../../../src/layers/image/diff.ts';
import { findFiles } from '../../../src/layers/image/files.ts';
import { licencesOf } from '../../../src/layers/image/packages.ts';
import { verifyImage } from '../../../src/layers/image/verify.ts';
import { type Compression, compressLayer } from '../../../src/oci/compress.ts';
import { type Descriptor, type Digest, mediaType } from '../../../src/oci/descriptor.ts';
import { buildImage, buildIndex } from '../../../src/oci/image/build.ts';
import { readContents } from '../../../src/oci/image/contents.ts';
import { imageHistory } from '../../../src/oci/image/history.ts';
import { choosePlatforms, narrowImage, openImage } from '../../../src/oci/image/select.ts';
import { type Architecture, parsePlatform, platformOf } from '../../../src/oci/platform.ts';
import type { Store } from '../../../src/oci/store/store.ts';
import { bytesContent, type Entry } from '../../../src/tree/entry.ts';
import { writeTar } from '../../../src/tree/tar-write.ts';
import { comparePaths, directory, file, symlink } from '../../../src/tree/tree.ts';
import { newStore, scratch } from '../oci/fixture.ts';

const text = (path: string, content: string, mode = 0o644): Entry => file(path, bytesContent(content), 'test', mode);
const status = (version: string) =>
  `Package: coreutils\nStatus: install ok installed\nArchitecture: amd64\nVersion: ${version}\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n`;

interface LayerSpec {
  readonly name: string;
  readonly comment?: string;
  readonly entries: readonly Entry[];
  readonly mtime?: number;
  readonly compression?: Compression;
}

async function image(
  store: Store,
  layers: readonly LayerSpec[],
  architectures: readonly Architecture[] = ['amd64'],
  labels: Record<string, string> = {},
): Promise<Descriptor> {
  const made = [];
  for (const { name, comment, entries, mtime = 0, compression } of layers) {
    const sorted = [...entries].sort((a, b) => comparePaths(a.path, b.path));
    const written = await store.write(writeTar(sorted, { mtime }));
    const plain = { mediaType: mediaType.layer, ...written };
    const descriptor = compression ? await compressLayer(store, plain, compression) : plain;
    made.push({ diffId: plain.digest, descriptor, history: { createdBy: `kina: ${name}`, comment } });
  }
  const manifests = [];
  for (const architecture of architectures) {
    const built = await buildImage(store, {
      platform: platformOf(architecture),
      layers: made,
      config: { Labels: labels },
      created: 0,
    });
    manifests.push(built.manifest);
  }
  return buildIndex(store, manifests);
}

const base = (version = '9.1', ls = 'elf'): LayerSpec => ({
  name: 'base',
  comment: 'debian',
  entries: [
    directory('usr', 'test'),
    directory('usr/bin', 'test'),
    symlink('bin', 'usr/bin', 'test'),
    text('usr/bin/ls', ls, 0o755),
    directory('var', 'test'),
    ...['lib', 'lib/dpkg', 'lib/dpkg/info'].map((path) => directory(`var/${path}`, 'test')),
    text('var/lib/dpkg/status', status(version)),
    text('var/lib/dpkg/info/coreutils.list', '/.\n/bin\n/bin/ls\n/usr\n/usr/share/man/ls.1\n'),
  ],
});
const node = (content = 'a'): LayerSpec => ({
  name: 'node',
  comment: 'files, systemd',
  entries: [directory('etc', 'test'), directory('usr', 'test'), text('etc/kina', content)],
});

const platformImage = async (store: Store, index: Descriptor) => (await readContents(store, index)).platforms[0]!;

describe('history and files', () => {
  test('layers have the names and steps of the recipe', async () => {
    const store = await newStore();
    const history = imageHistory(await platformImage(store, await image(store, [base(), node()])));
    expect(history.map(({ layer }) => [layer?.name, layer?.steps])).toEqual([
      ['base', ['debian']],
      ['node', ['files', 'systemd']],
    ]);
  });

  test('a package is found through the usr-merge, which its list does not know; the rest by layer and step', async () => {
    const store = await newStore();
    const one = await platformImage(store, await image(store, [base(), node()]));
    expect(await findFiles(store, one, '/bin/ls')).toMatchObject([
      { path: 'usr/bin/ls', layer: 'base', size: 3, packages: [{ name: 'coreutils', version: '9.1' }], steps: [] },
    ]);
    expect(await findFiles(store, one, 'etc/*')).toMatchObject([
      { path: 'etc/kina', layer: 'node', packages: [], steps: ['files', 'systemd'] },
    ]);
    // A folder that a later layer repeats as a parent stays with the layer that brought it.
    expect((await findFiles(store, one, 'usr')).map(({ path, layer }) => [path, layer])).toEqual([
      ['usr', 'base'],
      ['usr/bin', 'base'],
      ['usr/bin/ls', 'base'],
    ]);
    await expect(findFiles(store, one, '/no/*')).rejects.toMatchObject({ code: 'not-found' });
  });

  test("other tools' layers: whiteouts hide, history may be absent; read through gzip as GNU tar wrote it", async () => {
    const store = await newStore();
    const folder = await scratch();
    const layer = async (files: readonly string[]): Promise<{ diffId: Digest; descriptor: Descriptor }> => {
      const root = join(folder, files.join('+').replaceAll('/', '_'));
      for (const path of files) {
        mkdirSync(join(root, path, '..'), { recursive: true });
        writeFileSync(join(root, path), path);
      }
      const tar = execFileSync('tar', ['-C', root, '--format=gnu', '-c', '.']);
      const plain = { mediaType: mediaType.layer, ...(await store.writeBytes(tar)) };
      const descriptor = await compressLayer(store, plain, { kind: 'gzip' });
      await rm(store.blobPath(plain.digest), { force: true });
      return { diffId: plain.digest, descriptor };
    };
    const layers = [await layer(['a/one', 'a/two', 'b/three']), await layer(['a/.wh.one', 'b/.wh..wh..opq', 'b/four'])];
    const { manifest } = await buildImage(store, {
      platform: platformOf('arm64'),
      config: {},
      created: 0,
      layers: layers.map((one) => ({ ...one, history: { createdBy: '/bin/sh -c #(nop) ADD' } })),
    });
    const files = await findFiles(store, await platformImage(store, manifest), undefined);
    expect(files.filter((f) => f.type === 'file').map(({ path, layer }) => [path, layer])).toEqual([
      ['a/two', '#1'],
      ['b/four', '#2'],
    ]);
  });

  test('licences: machine-readable names, references to common licences, no guesses at prose', () => {
    expect(
      licencesOf(
        'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: GPL-2+\n text\n\nLicense: BSD-3-clause\n',
      ),
    ).toEqual(['BSD-3-clause', 'GPL-2+']);
    expect(licencesOf('see /usr/share/common-licenses/GPL-3.\n')).toEqual(['GPL-3']);
    expect(licencesOf('You may copy this.')).toEqual([]);
  });
});

describe('diff', () => {
  const compare = async (store: Store, a: Descriptor, b: Descriptor) =>
    diffImages(store, (await readContents(store, a)).platforms, (await readContents(store, b)).platforms);

  test('versions, contents, modes, links, additions: each named with its package and layer', async () => {
    const store = await newStore();
    const a = await image(store, [base(), node()], ['amd64'], { 'dev.kina.component.runc': '1.3.0', x: '1' });
    const changed = [
      ...node().entries.filter((e) => e.path !== 'etc/kina'),
      text('etc/kina', 'a', 0o600),
      text('etc/new', 'new'),
    ];
    const b = await image(store, [base('9.2', 'other elf'), { ...node(), entries: changed }], ['amd64'], {
      'dev.kina.component.runc': '1.3.1',
      x: '2',
    });
    const diff = await compare(store, a, b);
    expect(diff.identical).toBe(false);
    const [platform] = diff.platforms;
    expect(platform!.packages).toEqual([{ name: 'coreutils', a: '9.1', b: '9.2' }]);
    expect(platform!.components).toEqual([{ name: 'runc', a: '1.3.0', b: '1.3.1' }]);
    expect(platform!.config).toEqual([{ name: 'label x', a: '1', b: '2' }]);
    expect(platform!.layers.map(({ name, sameFiles }) => [name, sameFiles])).toEqual([
      ['base', false],
      ['node', false],
    ]);
    expect(platform!.files.map((f) => [f.name, f.what, f.package])).toEqual([
      ['etc/kina', ['mode'], undefined],
      ['etc/new', [], undefined],
      ['usr/bin/ls', ['size', 'digest'], 'coreutils'],
      ['var/lib/dpkg/status', ['digest'], undefined],
    ]);
  });

  test('equal size, other bytes is a difference; a moved file is one of its layer; time stamps alone are of the layer', async () => {
    const store = await newStore();
    const a = await image(store, [base(), node('a')]);
    const same = await compare(store, a, await image(store, [base(), node('b')]));
    expect(same.platforms[0]!.files).toMatchObject([{ name: 'etc/kina', what: ['digest'] }]);
    const [usr, ...rest] = node().entries;
    const moved = await compare(
      store,
      a,
      await image(store, [
        { ...base(), entries: [...base().entries, usr!, ...rest.slice(1)] },
        { ...node(), entries: [usr!] },
      ]),
    );
    expect(moved.platforms[0]!.files).toMatchObject([
      { name: 'etc', what: ['layer'] },
      { name: 'etc/kina', what: ['layer'] },
    ]);
    const later = await compare(store, a, await image(store, [{ ...base(), mtime: 5 }, node()]));
    expect(later.platforms[0]).toMatchObject({ files: [], layers: [{ name: 'base', sameFiles: true }] });
    expect(await compare(store, a, await image(store, [base(), node()]))).toMatchObject({ identical: true });
  });

  test('platforms that only one has are named, not compared', async () => {
    const store = await newStore();
    const diff = await compare(store, await image(store, [node()], ['amd64', 'arm64']), await image(store, [node()]));
    expect(diff).toMatchObject({ identical: false, onlyA: ['linux/arm64/v8'], onlyB: [], platforms: [] });
  });
});

describe('platforms', () => {
  test('a part of an index is the index that a build of that part makes', async () => {
    const store = await newStore();
    await store.tag('x:1', await image(store, [node()], ['amd64', 'arm64']));
    const contents = await openImage(store, 'x:1');
    const narrow = await narrowImage(store, contents, choosePlatforms('x:1', contents, [parsePlatform('arm64')]));
    expect(narrow.digest).toBe((await image(store, [node()], ['arm64'])).digest);
    expect(await narrowImage(store, contents, choosePlatforms('x:1', contents, undefined))).toEqual(
      contents.descriptor,
    );
    const only = await readContents(store, narrow);
    expect(() => choosePlatforms('x:1', only, [platformOf('amd64')])).toThrow('is not available for linux/amd64');
    await expect(openImage(store, 'y:1')).rejects.toMatchObject({ code: 'not-found', details: ['x:1'] });
  });
});

describe('verify', () => {
  /** Changes a blob as a failing disk would: size and time stamp stay. */
  async function rot(store: Store, digest: Digest, at = 10): Promise<void> {
    const path = store.blobPath(digest);
    const { mtime, atime } = await stat(path);
    const bytes = await readFile(path);
    bytes[at]! ^= 1;
    await chmod(path, 0o644);
    await writeFile(path, bytes);
    await utimes(path, atime, mtime);
  }

  test('a sound image, compressed layers included, has no damage', async () => {
    const store = await newStore();
    const index = await image(store, [{ ...base(), compression: { kind: 'zstd' } }, node()], ['amd64', 'arm64']);
    expect(await verifyImage(store, index, { task: silent.task('read', '') })).toMatchObject({ blobs: 7, damage: [] });
  });

  test('rot that no time stamp shows is found, named, and from then on not believed', async () => {
    const store = await newStore();
    const index = await image(store, [base(), { ...node(), compression: { kind: 'gzip' } }]);
    const { manifest } = await platformImage(store, index);
    const [first, second] = [manifest.layers[0]!, manifest.layers[1]!];
    await rot(store, first.digest);
    await rm(store.blobPath(second.digest), { force: true });
    const { damage } = await verifyImage(store, index);
    expect(damage).toMatchObject([
      { what: 'layer base of linux/amd64', digest: first.digest, problem: expect.stringContaining('digest mismatch') },
      { what: 'layer node of linux/amd64', digest: second.digest, problem: 'missing' },
    ]);
    expect(await store.has(first.digest)).toBe(false); // the mark made the store look, and remove it
  });

  test('a compressed layer that does not unpack to its diffID; an index that is not one; a wrong size', async () => {
    const store = await newStore();
    const layer = await compressLayer(
      store,
      { mediaType: mediaType.layer, ...(await store.writeBytes('one')) },
      { kind: 'gzip' },
    );
    const { manifest } = await buildImage(store, {
      platform: platformOf('amd64'),
      config: {},
      created: 0,
      layers: [{ diffId: `sha256:${'0'.repeat(64)}`, descriptor: layer, history: { createdBy: 'x' } }],
    });
    expect((await verifyImage(store, manifest)).damage).toMatchObject([
      { digest: layer.digest, problem: expect.stringContaining('uncompressed digest mismatch: got sha256:') },
    ]);
    const noIndex = await store.writeBytes('{}');
    expect((await verifyImage(store, { mediaType: mediaType.index, ...noIndex })).damage).toMatchObject([
      { what: 'index', problem: expect.stringContaining('not a valid image index') },
    ]);
    const lies = await verifyImage(store, { ...manifest, size: manifest.size + 1 });
    expect(lies.damage[0]?.problem).toContain('size mismatch');
  });
});
