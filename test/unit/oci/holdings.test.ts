import { chmod, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { listHoldings, verifyStore } from '../../../src/oci/store/holdings.ts';
import { newStore, smallImage } from './fixture.ts';

test('each blob is said to be for what it is for: images by name, artifacts by address, the rest by kind', async () => {
  const store = await newStore();
  const { index, layer } = await smallImage(store, ['amd64'], { kind: 'zstd' });
  await store.tag('x:1', index);
  await store.tag('y:1', index);
  const download = await store.writeBytes('download');
  const orphan = await store.writeBytes('orphan');
  const cached = await store.writeBytes('layer');
  await store.putRecord('last-lock', 'a', { steps: [{ url: 'https://example.org/a', digest: download.digest }] });
  await store.putRecord('layer', 'b', { diffId: cached.digest, size: 5 });
  await writeFile(join(await store.folder('unpacked'), download.digest.slice(7)), 'xx');
  const holdings = await listHoldings(store);
  const of = (digest: string) => holdings.find(({ path }) => path === `blobs/sha256/${digest.slice(7)}`);
  expect(of(layer.digest)).toMatchObject({ kind: 'image', what: 'layer #1 of linux/amd64', usedBy: ['x:1', 'y:1'] });
  expect(of(download.digest)).toMatchObject({ kind: 'artifact', what: 'https://example.org/a', size: 8, usedBy: [] });
  expect(of(cached.digest)).toMatchObject({ kind: 'layer', usedBy: [] });
  expect(of(orphan.digest)).toMatchObject({ kind: 'other', what: undefined });
  expect(holdings.find(({ kind }) => kind === 'unpacked')).toMatchObject({ size: 2, what: 'https://example.org/a' });
  // The uncompressed copy of a compressed layer is the image's too.
  expect(holdings.filter(({ what }) => what?.endsWith('uncompressed'))).toHaveLength(1);
  expect(holdings.map(({ size }) => size)).toEqual(holdings.map(({ size }) => size).sort((a, b) => b - a));
});

test('rot that neither size nor time stamp shows is found, with the images that it hurts, and not believed again', async () => {
  const store = await newStore();
  const { index, layer } = await smallImage(store, ['amd64']);
  await store.tag('x:1', index);
  expect(await verifyStore(store)).toMatchObject({ blobs: 4, damage: [] });
  const path = store.blobPath(layer.digest);
  const { atime, mtime } = await stat(path);
  const bytes = await readFile(path);
  bytes[0]! ^= 1;
  await chmod(path, 0o644);
  await writeFile(path, bytes);
  await utimes(path, atime, mtime);
  expect(await store.has(layer.digest, layer.size)).toBe(true); // a stat alone cannot know
  expect((await verifyStore(store)).damage).toMatchObject([{ digest: layer.digest, usedBy: ['x:1'] }]);
  expect(await store.has(layer.digest, layer.size)).toBe(false);
});
