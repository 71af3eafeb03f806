import { createWriteStream } from 'node:fs';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { describe, expect, test } from 'vitest';
import { sha256 } from '../../../src/host/json.ts';
import { hexOf, mediaType } from '../../../src/oci/descriptor.ts';
import { writeOutput } from '../../../src/oci/output/output.ts';
import { imageArchive } from '../../../src/oci/output/preload.ts';
import { platformOf } from '../../../src/oci/platform.ts';
import { storeImage } from '../../../src/oci/store/image.ts';
import { collect, importImages, json, newStore, scratch, smallImage } from './fixture.ts';

type Parts = Record<string, Buffer | { link: string; type: 'symlink' | 'link' }>;

/** A tar by a different writer, in the order given. */
async function tarOf(parts: Parts | [string, Buffer][]): Promise<string> {
  const file = join(await scratch(), 'image.tar');
  const tar = pack();
  for (const [name, part] of Array.isArray(parts) ? parts : Object.entries(parts)) {
    if ('link' in part) tar.entry({ name, type: part.type, linkname: part.link });
    else tar.entry({ name }, part);
  }
  tar.finalize();
  await pipeline(tar, createWriteStream(file));
  return file;
}

const layer = Buffer.alloc(1024, 0);
const layerId = sha256(layer);
const config = json({
  os: 'linux',
  architecture: 'amd64',
  rootfs: { type: 'layers', diff_ids: [layerId, layerId] },
});
const configName = `${hexOf(sha256(config))}.json`;
const manifest = (layers: string[]) => json([{ Config: configName, RepoTags: ['k8s.gcr.io/x:v1'], Layers: layers }]);

describe('docker-archive', () => {
  test('layers as links, names last: the config is untouched and a manifest is made', async () => {
    const store = await newStore();
    const file = await tarOf({
      [configName]: config,
      [`${'a'.repeat(64)}/json`]: Buffer.from('{}'),
      'one.tar': layer,
      'b/layer.tar': { type: 'symlink', link: '../one.tar' },
      'manifest.json': manifest(['one.tar', 'b/layer.tar']),
    });
    const [image] = await importImages(store, file);
    expect(image).toMatchObject({
      names: ['k8s.gcr.io/x:v1'],
      platform: { os: 'linux', architecture: 'amd64' },
      config: { digest: sha256(config), size: config.length, mediaType: mediaType.config },
      diffIds: [layerId, layerId],
    });
    expect(image!.layers).toEqual(Array(2).fill({ mediaType: mediaType.layer, digest: layerId, size: 1024 }));
    expect(await store.has(image!.manifest.digest, image!.manifest.size)).toBe(true);
  });

  test('the file may be compressed, and so may its layers', async () => {
    const store = await newStore();
    const packed = gzipSync(layer);
    const plain = await tarOf({
      'manifest.json': manifest(['./x/layer.tar', 'x/layer.tar']),
      './x/layer.tar': packed,
      [configName]: config,
    });
    await writeFile(`${plain}.gz`, gzipSync(await readFile(plain)));
    const [image] = await importImages(store, `${plain}.gz`);
    expect(image!.layers[0]).toEqual({ mediaType: mediaType.layerGzip, digest: sha256(packed), size: packed.length });
  });

  test.each<[string, Parts | [string, Buffer][], RegExp]>([
    ['a missing layer', { [configName]: config, 'manifest.json': manifest(['a', 'a']) }, /names a, which is not/],
    [
      'a layer the config does not know',
      { a: Buffer.from('x'), [configName]: config, 'manifest.json': manifest(['a', 'a']) },
      /layer 1 .*: digest mismatch: got sha256/,
    ],
    [
      'fewer layers than the config',
      { a: layer, [configName]: config, 'manifest.json': manifest(['a']) },
      /1 layers, but config .* lists 2/,
    ],
    [
      'links in a circle',
      {
        a: { type: 'symlink', link: 'b' },
        b: { type: 'symlink', link: 'a' },
        [configName]: config,
        'manifest.json': manifest(['a', 'a']),
      },
      /names a/,
    ],
    [
      'one name twice',
      [
        ['a', layer],
        ['a', Buffer.from('other')],
      ],
      /twice, with different content/,
    ],
    ['neither format', { readme: Buffer.from('hello') }, /neither an OCI image nor a docker-archive/],
    [
      'a path out of the archive',
      { '../../../etc/kina': layer, [configName]: config, 'manifest.json': manifest(['../../etc/kina', 'x']) },
      /names/,
    ],
  ])('%s is an error that says so', async (_what, parts, message) => {
    await expect(importImages(await newStore(), await tarOf(parts))).rejects.toThrow(message);
  });
});

describe('OCI archives and layouts', () => {
  test.each(['oci', 'oci-archive'] as const)('what kina writes as %s comes back the same', async (type) => {
    const [store, other] = [await newStore(), await newStore()];
    const { index, layer: blob } = await smallImage(store, ['amd64', 'arm64'], { kind: 'zstd' });
    const dest = join(await scratch(), 'out');
    await writeOutput({ store, image: storeImage(store, index), refs: ['localhost/x:1', 'localhost/x:2'], type, dest });
    const images = await importImages(other, dest);
    expect(images.map(({ platform }) => platform.architecture)).toEqual(['amd64', 'arm64']);
    for (const image of images) {
      expect(image.names).toEqual(['localhost/x:1', 'localhost/x:2']);
      expect(image.layers).toEqual([blob]);
      expect(await other.has(image.config.digest, image.config.size)).toBe(true);
    }
  });

  test('a blob that is not what its name says, and an archive cut short, leave nothing behind', async () => {
    const store = await newStore();
    const entry = { mediaType: mediaType.manifest, digest: `sha256:${'0'.repeat(64)}`, size: layer.length };
    const wrong = await tarOf({
      'oci-layout': Buffer.from('{"imageLayoutVersion":"1.0.0"}'),
      'index.json': json({ schemaVersion: 2, manifests: [entry] }),
      [`blobs/sha256/${'0'.repeat(64)}`]: layer,
    });
    await expect(importImages(store, wrong)).rejects.toMatchObject({ code: 'integrity' });

    const source = await newStore();
    const { index } = await smallImage(source, ['amd64']);
    const dest = join(await scratch(), 'cut.tar');
    await writeOutput({ store: source, image: storeImage(source, index), refs: ['x'], type: 'oci-archive', dest });
    await truncate(dest, 1500);
    await expect(importImages(store, dest)).rejects.toMatchObject({ code: 'archive' });
    await expect(importImages(store, join(dest, 'nowhere'))).rejects.toMatchObject({ code: 'not-found' });
  });

  test('only the platforms that are asked for must be whole', async () => {
    const source = await newStore();
    const { index, layer: blob } = await smallImage(source, ['amd64', 'arm64']);
    const bytes = async (digest: `sha256:${string}`) => source.readBytes(digest, 1 << 20);
    const document = JSON.parse((await bytes(index.digest)).toString());
    const amd64 = JSON.parse((await bytes(document.manifests[0].digest)).toString());
    const parts: Record<string, Buffer> = {
      'oci-layout': Buffer.from('{"imageLayoutVersion":"1.0.0"}'),
      'index.json': json({ schemaVersion: 2, manifests: [index] }),
    };
    for (const { digest } of [index, document.manifests[0], amd64.config])
      parts[`blobs/sha256/${hexOf(digest)}`] = await bytes(digest);
    const amd64Only = [platformOf('amd64')];
    await expect(importImages(await newStore(), await tarOf(parts), amd64Only)).rejects.toThrow(
      /layer 1 .* is not in the archive/,
    );
    parts[`blobs/sha256/${hexOf(blob.digest)}`] = await bytes(blob.digest);
    const images = await importImages(await newStore(), await tarOf(parts), amd64Only);
    expect(images.map(({ platform }) => platform.architecture)).toEqual(['amd64']);
    await expect(importImages(await newStore(), await tarOf(parts))).rejects.toThrow(/is not in the archive/);
  });
});

describe('preloaded images', () => {
  test('one archive for all: shared blobs once, order of the images without effect, importable', async () => {
    const store = await newStore();
    const { index } = await smallImage(store, ['amd64', 'arm64']);
    const dest = join(await scratch(), 'both.tar');
    await writeOutput({ store, image: storeImage(store, index), refs: ['x'], type: 'oci-archive', dest });
    const [amd64, arm64] = await importImages(store, dest);
    const named = [
      { ...amd64!, name: 'registry.k8s.io/b:1' },
      { ...arm64!, name: 'registry.k8s.io/a:1' },
    ];
    const archive = await imageArchive(store, named);
    expect(await imageArchive(store, [...named].reverse())).toEqual(archive);

    const file = join(await scratch(), 'preload.tar');
    const chunks = archive.segments.map((part) => ('bytes' in part ? part.bytes : readFile(part.file)));
    const bytes = Buffer.concat(await Promise.all(chunks));
    expect(bytes.length).toBe(archive.size);
    await writeFile(file, bytes);
    const back = await importImages(await newStore(), file);
    expect(back.map(({ names, config: c }) => [...names, c.digest])).toEqual([
      ['registry.k8s.io/a:1', arm64!.config.digest],
      ['registry.k8s.io/b:1', amd64!.config.digest],
    ]);
  });

  test('two images of one name, and a blob that is gone, are errors', async () => {
    const store = await newStore();
    const { index } = await smallImage(store, ['amd64', 'arm64']);
    const dest = join(await scratch(), 'both.tar');
    await writeOutput({ store, image: storeImage(store, index), refs: ['x'], type: 'oci-archive', dest });
    const images = (await importImages(store, dest)).map((image) => ({ ...image, name: 'same:1' }));
    await expect(imageArchive(store, images)).rejects.toMatchObject({ code: 'conflict' });
    await expect(imageArchive(await newStore(), [images[0]!])).rejects.toMatchObject({ code: 'store' });
    expect(await collect(store.open(images[0]!.config.digest))).toBeInstanceOf(Buffer);
  });
});
