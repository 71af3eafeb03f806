import { execFileSync } from 'node:child_process';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { extract } from 'tar-stream';
import { describe, expect, test } from 'vitest';
import { compressLayer, uncompressedLayer } from '../../../src/oci/compress.ts';
import { type Descriptor, mediaType, parseConfig, parseManifest } from '../../../src/oci/descriptor.ts';
import { buildImage, buildIndex } from '../../../src/oci/image/build.ts';
import { tarSegments, tarStream } from '../../../src/oci/output/tar.ts';
import { platformOf } from '../../../src/oci/platform.ts';
import { missing } from '../../support/requirements.ts';
import { blobsOf, collect, newStore, scratch, smallImage, smallLayer } from './fixture.ts';

describe('config, manifest, index', () => {
  test('the bytes are canonical JSON and depend on nothing but the input', async () => {
    const store = await newStore();
    const { index, layer } = await smallImage(store, ['arm64', 'amd64']);
    const read = async (d: Descriptor) => JSON.parse((await store.readBytes(d.digest, 1 << 20)).toString());
    const document = await read(index);
    expect(document.manifests.map((m: Descriptor) => m.platform)).toEqual([
      { architecture: 'amd64', os: 'linux' },
      { architecture: 'arm64', os: 'linux', variant: 'v8' },
    ]);
    const manifest = await read(document.manifests[1]);
    expect(manifest.layers).toEqual([layer]);
    expect((await store.readBytes(manifest.config.digest, 1 << 20)).toString()).toBe(
      '{"architecture":"arm64","config":{"Entrypoint":["/init"],"Env":["container=docker"],' +
        '"Labels":{"dev.kina.recipe":"test"}},"created":"2020-01-01T00:00:00Z",' +
        '"history":[{"created":"2020-01-01T00:00:00Z","created_by":"kina base"}],"os":"linux",' +
        `"rootfs":{"diff_ids":["${layer.digest}"],"type":"layers"},"variant":"v8"}`,
    );
    const again = await smallImage(await newStore(), ['amd64', 'arm64']);
    expect(again.index).toEqual(index);
  });

  test('more layers than containerd mounts, and one platform twice, are refused', async () => {
    const store = await newStore();
    const layer = await smallLayer(store);
    const input = { platform: platformOf('amd64'), config: {}, created: 0 };
    const one = { diffId: layer.digest, descriptor: layer, history: { createdBy: 'x' } };
    await expect(buildImage(store, { ...input, layers: Array(128).fill(one) })).rejects.toMatchObject({
      code: 'recipe',
    });
    const { manifest } = await buildImage(store, { ...input, layers: [one] });
    await expect(buildIndex(store, [manifest, manifest])).rejects.toMatchObject({ code: 'platform' });
  });

  test.each([
    ['no JSON', 'x'],
    ['another schema', '{"schemaVersion":1}'],
    [
      'a digest that is a path',
      '{"schemaVersion":2,"config":{"mediaType":"a","digest":"sha256:../../x","size":1},"layers":[]}',
    ],
    [
      'a negative size',
      `{"schemaVersion":2,"config":{"mediaType":"a","digest":"sha256:${'0'.repeat(64)}","size":-1},"layers":[]}`,
    ],
  ])('a manifest with %s is an error that names the document', (_what, text) => {
    expect(() => parseManifest(Buffer.from(text), 'registry.test/x')).toThrow(/registry\.test\/x/);
  });

  test('documents above their limit are refused before they are parsed; unknown fields are kept', () => {
    expect(() => parseConfig(Buffer.alloc(9 << 20), 'x')).toThrow(/more than/);
    const config = { os: 'linux', architecture: 'riscv64', rootfs: { type: 'layers', diff_ids: [] }, future: 1 };
    expect(parseConfig(Buffer.from(JSON.stringify(config)), 'x')).toEqual(config);
  });
});

describe('compression', () => {
  test.each(['gzip', 'zstd'] as const)(
    '%s: the same bytes in two stores, found again, and back to the diffID',
    async (kind) => {
      const stores = [await newStore(), await newStore()];
      const results = [];
      for (const store of stores) {
        const layer = await smallLayer(store, 'hello\n', 3 << 20);
        const compressed = await compressLayer(store, layer, { kind });
        results.push(compressed);
        let read = 0;
        const counting = (bytes: number) => {
          read = bytes;
        };
        expect(await compressLayer(store, layer, { kind }, counting)).toEqual(compressed);
        expect(read).toBe(0);
        const bytes = await store.readBytes(compressed.digest, 1 << 20);
        const plain = kind === 'gzip' ? gunzipSync(bytes) : zstdDecompressSync(bytes);
        expect(plain.equals(await store.readBytes(layer.digest, 8 << 20))).toBe(true);
        expect(await uncompressedLayer(store, compressed, layer.digest)).toEqual(layer);
      }
      expect(results[0]).toEqual(results[1]);
    },
  );

  test('levels are different layers to the cache; a wrong level is refused', async () => {
    const store = await newStore();
    const layer = await smallLayer(store, 'hello\n', 1 << 20);
    const [one, nine] = [1, 9].map((level) => compressLayer(store, layer, { kind: 'gzip', level }));
    expect((await one)?.digest).not.toBe((await nine)?.digest);
    await expect(compressLayer(store, layer, { kind: 'gzip', level: 10 })).rejects.toMatchObject({ code: 'usage' });
  });

  test('a gzip header tells neither time, name nor machine', async () => {
    const store = await newStore();
    const { digest } = await compressLayer(store, await smallLayer(store), { kind: 'gzip' });
    expect((await store.readBytes(digest, 1 << 20)).subarray(0, 10).toString('hex')).toBe('1f8b08000000000000ff');
  });

  test('a layer of several zstd frames, as podman writes it, is decompressed whole', async () => {
    const store = await newStore();
    const layer = await smallLayer(store, 'hello\n', 100_000);
    const bytes = await store.readBytes(layer.digest, 1 << 20);
    const skippable = Buffer.from('502a4d1804000000aaaaaaaa', 'hex');
    const frames = [bytes.subarray(0, 1000), bytes.subarray(1000)].map((part) => zstdCompressSync(part));
    const written = await store.writeBytes(Buffer.concat([skippable, ...frames]));
    const other = await newStore();
    await other.write(store.verified(written.digest));
    const compressed = { mediaType: mediaType.layerZstd, ...written };
    expect(await uncompressedLayer(other, compressed, layer.digest)).toEqual(layer);
  });

  test('a damaged compressed layer is reported as damage of the store', async () => {
    const [store, other] = [await newStore(), await newStore()];
    const layer = await smallLayer(store);
    const compressed = await compressLayer(store, layer, { kind: 'zstd' });
    await other.write(store.verified(compressed.digest));
    await chmod(other.blobPath(compressed.digest), 0o644);
    await writeFile(other.blobPath(compressed.digest), Buffer.alloc(compressed.size, 1));
    await expect(uncompressedLayer(other, compressed, layer.digest)).rejects.toMatchObject({ code: 'store' });
  });

  test('a layer that lost its uncompressed blob is unpacked again; a lying diffID is found', async () => {
    const [store, other] = [await newStore(), await newStore()];
    const layer = await smallLayer(store);
    const compressed = await compressLayer(store, layer, { kind: 'zstd' });
    await other.write(store.verified(compressed.digest));
    expect(await uncompressedLayer(other, compressed, layer.digest)).toEqual(layer);
    await expect(uncompressedLayer(other, compressed, compressed.digest.replace(/.$/, 'x') as never)).rejects.toThrow();
  });
});

describe('the tar around images', () => {
  test('GNU tar and bsdtar list the same members: sorted, no ./, folders first, no owner names', async () => {
    const store = await newStore();
    const layer = await smallLayer(store);
    const file = join(await scratch(), 'x.tar');
    const members = [
      { name: 'z', bytes: Buffer.from('end') },
      { name: 'blobs/sha256/a', digest: layer.digest, size: layer.size },
      { name: 'a', bytes: Buffer.alloc(512) },
      { name: 'empty', bytes: Buffer.alloc(0) },
    ];
    const bytes = await collect(tarStream(blobsOf(store), members));
    await writeFile(file, bytes);
    const expected = ['a', 'blobs/', 'blobs/sha256/', 'blobs/sha256/a', 'empty', 'z'];
    for (const tool of ['tar', 'bsdtar']) {
      if (missing([tool]) !== undefined) continue;
      const listing = execFileSync(tool, ['-tf', file], { encoding: 'utf8' });
      expect(listing.trim().split('\n')).toEqual(expected);
    }
    // The virtual archive is the same bytes.
    const parts = tarSegments(store, members).map((part) =>
      'bytes' in part ? part.bytes : collect(store.open(layer.digest, { start: part.offset, end: part.size - 1 })),
    );
    expect(Buffer.concat(await Promise.all(parts)).equals(bytes)).toBe(true);
  });

  test('a blob of 9 GiB has its size in a PAX record, because ustar has room for 8', async () => {
    const store = await newStore();
    const size = 9 * 1024 ** 3 + 5;
    const [head] = tarSegments(store, [{ name: 'blobs/big', digest: `sha256:${'0'.repeat(64)}`, size }]);
    const seen: [string, number | undefined][] = [];
    const reader = extract();
    reader.on('entry', ({ name, size: announced }, _stream, next) => {
      seen.push([name, announced]);
      next();
    });
    reader.on('error', () => {});
    reader.write((head as { bytes: Uint8Array }).bytes);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(seen).toEqual([
      ['blobs/', 0],
      ['blobs/big', size],
    ]);
  });
});
