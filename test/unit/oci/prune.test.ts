import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Digest } from '../../../src/oci/descriptor.ts';
import { inspectImage, listImages, removeImage } from '../../../src/oci/image/inspect.ts';
import { prune } from '../../../src/oci/store/prune.ts';
import type { Store } from '../../../src/oci/store/store.ts';
import { newStore, smallImage } from './fixture.ts';

const storeModule = join(import.meta.dirname, '../../../src/oci/store/store.ts');

/** Dates everything in the store back by `hours`. */
async function age(store: Store, hours: number): Promise<void> {
  const past = Date.now() / 1000 - hours * 3600;
  const folder = join(store.root, 'blobs/sha256');
  for (const name of await readdir(folder)) await utimes(join(folder, name), past, 1);
}

describe('looking', () => {
  test('a list has platforms, size and time; details have layers, labels and digests', async () => {
    const store = await newStore();
    const { index, layer } = await smallImage(store, ['amd64', 'arm64']);
    await store.tag('localhost/x:1', index);
    const [summary] = await listImages(store);
    expect(summary).toMatchObject({
      ref: 'localhost/x:1',
      digest: index.digest,
      platforms: ['linux/amd64', 'linux/arm64/v8'],
      created: '2020-01-01T00:00:00Z',
      damage: undefined,
    });
    expect(summary!.size).toBeGreaterThan(layer.size);
    const details = await inspectImage(store, 'localhost/x:1');
    expect(details.annotations).toEqual({ 'org.opencontainers.image.title': 'test' });
    expect(details.platforms[1]).toMatchObject({
      platform: 'linux/arm64/v8',
      entrypoint: ['/init'],
      labels: { 'dev.kina.recipe': 'test' },
      layers: [{ ...layer, diffId: layer.digest, createdBy: 'kina base' }],
    });
  });

  test('a damaged image is listed as such beside the others; an unknown name lists those there are', async () => {
    const store = await newStore();
    const { index } = await smallImage(store, ['amd64']);
    await store.tag('good:1', index);
    const bad = await smallImage(store, ['arm64']);
    await store.tag('bad:1', bad.index);
    await rm(store.blobPath(bad.index.digest));
    expect((await listImages(store)).map(({ ref, damage }) => [ref, damage === undefined])).toEqual([
      ['bad:1', false],
      ['good:1', true],
    ]);
    await expect(prune(store)).rejects.toMatchObject({ code: 'store', hint: expect.stringContaining('bad:1') });
    await removeImage(store, 'bad:1');
    await expect(removeImage(store, 'bad:1')).rejects.toMatchObject({ code: 'not-found', details: ['good:1'] });
  });
});

describe('prune', () => {
  test('what names need stays, old leftovers go, also folders and records of other rooms', async () => {
    const store = await newStore();
    const { index, layer } = await smallImage(store, ['amd64'], { kind: 'zstd' });
    await store.tag('x:1', index);
    const junk = await store.writeBytes('junk');
    await store.putRecord('layer', 'kept', { digest: layer.digest });
    await store.putRecord('layer', 'stale', { digest: junk.digest });
    const unpacked = join(await store.folder('unpacked'), 'abc');
    await mkdir(unpacked);
    await writeFile(join(unpacked, 'data.tar'), Buffer.alloc(1000));
    await age(store, 2);
    for (const path of [unpacked, ...['kept', 'stale'].map((key) => join(store.root, `records/layer/${key}.json`))])
      await utimes(path, 1, 1);

    const planned = await prune(store, { dryRun: true });
    expect(planned).toMatchObject({ removed: 3, freedBytes: expect.any(Number) });
    expect(await store.has(junk.digest)).toBe(true);
    await age(store, 2);
    expect(await prune(store)).toEqual(planned);
    expect(planned.freedBytes).toBeGreaterThanOrEqual(1004);
    expect(await store.has(junk.digest)).toBe(false);
    expect(await readdir(join(store.root, 'unpacked'))).toEqual([]);
    expect(await readdir(join(store.root, 'records/layer'))).toEqual(['kept.json']);
    await inspectImage(store, 'x:1');
    expect((await readdir(join(store.root, 'blobs/sha256'))).length).toBe(5); // both forms of the layer
    await prune(store, { all: true });
    expect((await readdir(join(store.root, 'blobs/sha256'))).length).toBe(4); // the uncompressed copy went
  });

  test('what was made or used within the hour stays, unless all is asked for', async () => {
    const store = await newStore();
    const { digest } = await store.writeBytes('fresh');
    expect(await prune(store)).toMatchObject({ removed: 0 });
    await age(store, 2);
    expect(await store.has(digest)).toBe(true); // a build found it: it counts as used now
    expect(await prune(store)).toMatchObject({ removed: 0 });
    expect(await prune(store, { all: true })).toMatchObject({ removed: 1, freedBytes: 5 });
  });

  test('with all, too, what a running build has used stays', async () => {
    const store = await newStore();
    const old = await store.writeBytes('old');
    const used = await store.writeBytes('used');
    await age(store, 5);
    const build = execFile(process.execPath, [
      '--input-type=module',
      '-e',
      `import { Store } from ${JSON.stringify(storeModule)};
       const store = await Store.open(${JSON.stringify(store.root)});
       await store.has(${JSON.stringify(used.digest)}); console.log('ready'); setInterval(() => {}, 1000);`,
    ]);
    await once(build.stdout!, 'data');
    await prune(store, { all: true });
    expect(await store.has(old.digest)).toBe(false);
    expect(await store.has(used.digest)).toBe(true);
    build.kill('SIGKILL');
    await once(build, 'exit');
    expect(await prune(store, { all: true })).toMatchObject({ removed: 1 });
  });

  test('a limit takes the least recently used first and stops', async () => {
    const store = await newStore();
    const blobs: Digest[] = [];
    for (const text of ['aaaa', 'bbbb', 'cccc']) blobs.push((await store.writeBytes(text)).digest);
    const hoursAgo = [3, 9, 6];
    for (const [i, digest] of blobs.entries())
      await utimes(store.blobPath(digest), Date.now() / 1000 - hoursAgo[i]! * 3600, 1);
    expect(await prune(store, { keepStorage: 8 })).toEqual({ freedBytes: 4, removed: 1, keptBytes: 8 });
    expect(await Promise.all(blobs.map((digest) => store.has(digest)))).toEqual([true, false, true]);
  });

  test('told what to look at, it looks at nothing else, and still keeps what a name needs', async () => {
    const store = await newStore();
    const { index, layer } = await smallImage(store, ['amd64']);
    await store.tag('x:1', index);
    const [mine, other] = [await store.writeBytes('mine'), await store.writeBytes('other')];
    await mkdir(join(await store.folder('unpacked'), 'abc'));
    const only = new Set([mine.digest, layer.digest]);
    expect(await prune(store, { all: true, only })).toMatchObject({ removed: 1, freedBytes: 4 });
    expect(await Promise.all([mine, other, layer].map(({ digest }) => store.has(digest)))).toEqual([false, true, true]);
    expect(await readdir(join(store.root, 'unpacked'))).toEqual(['abc']);
  });
});
