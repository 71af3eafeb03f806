/** One walk over images: what is asked for must be there, and the best match is taken. */
import { execFileSync } from 'node:child_process';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { openArchive } from '../../../src/oci/archive/open.ts';
import { type Descriptor, hexOf, mediaType } from '../../../src/oci/descriptor.ts';
import { contentsOf, partsOf, readContents } from '../../../src/oci/image/contents.ts';
import { writeOutput } from '../../../src/oci/output/output.ts';
import { bestMatch, platformOf } from '../../../src/oci/platform.ts';
import { storeImage } from '../../../src/oci/store/image.ts';
import { keepImage } from '../../../src/oci/store/keep.ts';
import type { Store } from '../../../src/oci/store/store.ts';
import { describeWith } from '../../support/requirements.ts';
import { json, newStore, scratch, smallImage } from './fixture.ts';

const amd64 = platformOf('amd64');
const arm64 = platformOf('arm64');
const containerdName = 'io.containerd.image.name';

/** A layout folder with an image of two platforms; `entries` makes `index.json` of its descriptor and manifests. */
async function layout(entries: (index: Descriptor, manifests: readonly Descriptor[]) => readonly Descriptor[]) {
  const store = await newStore();
  const { index } = await smallImage(store, ['amd64', 'arm64'], { kind: 'gzip' });
  const dest = join(await scratch(), 'layout');
  const image = storeImage(store, index);
  await writeOutput({ store, image, refs: ['x:1'], type: 'oci', dest });
  const contents = await contentsOf(image);
  const manifests = contents.platforms.map(({ descriptor }) => descriptor);
  await writeFile(join(dest, 'index.json'), json({ schemaVersion: 2, manifests: entries(index, manifests) }));
  const blob = (digest: Descriptor['digest']) => join(dest, 'blobs/sha256', hexOf(digest));
  return { dest, contents, blob };
}

const named = (one: Descriptor): Descriptor => ({ ...one, annotations: { [containerdName]: 'docker.io/library/x:1' } });

describe('an archive without the blobs of a platform that is not asked for', () => {
  test('loads for the other one, with the manifest there or not', async () => {
    const { dest, contents, blob } = await layout((index) => [named(index)]);
    const [, arm] = contents.platforms;
    await rm(blob(arm!.manifest.config.digest));
    for (const gone of [undefined, blob(arm!.descriptor.digest)]) {
      if (gone) await rm(gone);
      const store = await newStore();
      const [image] = await openArchive(store, dest);
      const { root, contents: kept } = await keepImage(store, image!, [amd64]);
      expect(kept.platforms).toHaveLength(1);
      expect((await readContents(store, root)).platforms).toMatchObject([{ config: { architecture: 'amd64' } }]);
      await expect(keepImage(store, image!, [arm64])).rejects.toMatchObject({ code: 'archive' });
      await expect(keepImage(store, image!)).rejects.toMatchObject({ code: 'archive' });
    }
  });

  test('loads when index.json lists the platforms itself, which is one image', async () => {
    const { dest, contents, blob } = await layout((_, manifests) => manifests.map(named));
    await rm(blob(contents.platforms[1]!.descriptor.digest));
    const images = await openArchive(await newStore(), dest);
    expect(images).toMatchObject([{ names: ['docker.io/library/x:1'] }]);
    expect((await contentsOf(images[0]!, [amd64])).platforms).toHaveLength(1);
  });
});

describe('documents beside an image', () => {
  const withSubject = async (store: Store, index: Descriptor, arm: Descriptor) => {
    const manifest = JSON.parse((await store.readBytes(arm.digest, 1 << 20)).toString());
    return store.writeBytes(json({ ...manifest, subject: index }));
  };

  test('an attestation is part of the image, not a platform', async () => {
    const store = await newStore();
    const { index } = await smallImage(store, ['amd64', 'arm64']);
    const document = JSON.parse((await store.readBytes(index.digest, 1 << 20)).toString());
    document.manifests[1].platform = { os: 'unknown', architecture: 'unknown' };
    const root = { mediaType: mediaType.index, ...(await store.writeBytes(json(document))) };
    const image = storeImage(store, root);
    expect((await contentsOf(image)).platforms).toHaveLength(1);
    expect((await partsOf(image)).documents).toHaveLength(3);
    expect((await partsOf(image, [amd64])).documents).toHaveLength(2);
  });

  test('a named manifest with a subject is an image; one without a name is a referrer', async () => {
    const store = await newStore();
    const { index } = await smallImage(store, ['amd64']);
    const [one] = (await readContents(store, index)).platforms;
    const other = { mediaType: mediaType.manifest, ...(await withSubject(store, index, one!.descriptor)) };
    const dest = join(await scratch(), 'layout');
    await writeOutput({ store, image: storeImage(store, index), refs: ['x:1'], referrers: [other], type: 'oci', dest });
    const [image, ...more] = await openArchive(await newStore(), dest);
    expect(more).toEqual([]);
    expect(await image!.referrers(index.digest)).toMatchObject([{ digest: other.digest }]);
    const path = join(dest, 'index.json');
    const listed = JSON.parse(await readFile(path, 'utf8'));
    await writeFile(path, json({ ...listed, manifests: listed.manifests.map(named) }));
    expect(await openArchive(await newStore(), dest)).toHaveLength(2);
  });
});

test.each([
  ['arm64', ['', 'v8'], 1],
  ['arm64', ['v9', ''], 1],
  ['arm64', ['v9'], 0],
  ['amd64', ['v3', 'v1', ''], 2],
  ['amd64', ['v3', 'v2'], 1],
] as const)('the best of %s variants %o is number %i', (architecture, variants, best) => {
  const candidates = ['x', ...variants].map((variant) => ({
    os: variant === 'x' ? 'windows' : 'linux',
    architecture,
    variant,
  }));
  expect(bestMatch(candidates, (one) => one, platformOf(architecture))).toBe(candidates[best + 1]);
});

describe('compressed archives', () => {
  const archive = async (compress: (tar: Buffer) => Buffer): Promise<string> => {
    const store = await newStore();
    const { index } = await smallImage(store, ['amd64']);
    const dest = join(await scratch(), 'x.tar');
    await writeOutput({ store, image: storeImage(store, index), refs: ['x:1'], type: 'oci-archive', dest });
    await writeFile(dest, compress(await readFile(dest)));
    return dest;
  };

  test('may begin with a skippable frame, as pzstd writes them', async () => {
    const path = await archive((tar) => {
      const packed = zstdCompressSync(tar);
      const frame = Buffer.alloc(12);
      for (const [i, value] of [0x184d2a50, 4, packed.length].entries()) frame.writeUInt32LE(value, i * 4);
      return Buffer.concat([frame, packed]);
    });
    expect(await openArchive(await newStore(), path)).toMatchObject([{ names: ['x:1'] }]);
  });

  describeWith('with xz', ['xz'], () => {
    test('are read', async () => {
      const path = await archive((tar) => execFileSync('xz', ['-c'], { input: tar, maxBuffer: 1 << 26 }));
      expect(await openArchive(await newStore(), path)).toMatchObject([{ names: ['x:1'] }]);
    });
  });
});
