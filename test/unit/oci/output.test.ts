import { spawnSync } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { sha256 } from '../../../src/host/json.ts';
import { writeOutput } from '../../../src/oci/output/output.ts';
import { storeImage } from '../../../src/oci/store/image.ts';
import { temporaryBeside } from '../../../src/oci/store/leases.ts';
import { importImages, newStore, scratch, smallImage } from './fixture.ts';

describe('destinations', () => {
  test('equal images give equal archives, from different stores', async () => {
    const digests = [];
    for (const architectures of [['amd64', 'arm64'] as const, ['arm64', 'amd64'] as const]) {
      const store = await newStore();
      const { index } = await smallImage(store, architectures);
      const dest = join(await scratch(), 'x.tar');
      await writeOutput({ store, image: storeImage(store, index), refs: ['localhost/x:1'], type: 'oci-archive', dest });
      digests.push(sha256(await readFile(dest)));
    }
    expect(digests[0]).toBe(digests[1]);
  });

  test('a layout gets further images beside those it has; the same name moves', async () => {
    const [store, dest] = [await newStore(), join(await scratch(), 'layout')];
    await mkdir(dest); // an empty folder is as good as none
    const one = await smallImage(store, ['amd64']);
    const two = await smallImage(store, ['arm64']);
    await writeOutput({ store, image: storeImage(store, one.index), refs: ['a:1'], type: 'oci', dest });
    await writeOutput({ store, image: storeImage(store, one.index), refs: ['b:1'], type: 'oci', dest });
    await writeOutput({ store, image: storeImage(store, two.index), refs: ['a:1'], type: 'oci', dest });
    const index = JSON.parse(await readFile(join(dest, 'index.json'), 'utf8'));
    expect(
      index.manifests.map((m: { digest: string; annotations: Record<string, string> }) => [
        m.annotations['com.apple.containerization.image.name'],
        m.digest,
      ]),
    ).toEqual([
      ['b:1', one.index.digest],
      ['a:1', two.index.digest],
    ]);
    expect(await importImages(await newStore(), dest)).toHaveLength(2);
  });

  test('two images for one new layout at once: both are in it, and nothing else', async () => {
    const [store, folder] = [await newStore(), await scratch()];
    const dest = join(folder, 'layout');
    const images = [await smallImage(store, ['amd64']), await smallImage(store, ['arm64'])];
    await Promise.all(
      images.map(({ index }, i) =>
        writeOutput({ store, image: storeImage(store, index), refs: [`a:${i}`], type: 'oci', dest }),
      ),
    );
    expect(await importImages(await newStore(), dest)).toHaveLength(2);
    expect(await readdir(folder)).toEqual(['layout']);
  });

  test('a folder of something else, a folder for a file, a missing parent: refused, nothing touched', async () => {
    const store = await newStore();
    const { index } = await smallImage(store, ['amd64']);
    const folder = await scratch();
    await writeFile(join(folder, 'precious'), '');
    const request = { store, image: storeImage(store, index), refs: ['x'] };
    const refused = { code: 'usage' };
    await expect(writeOutput({ ...request, type: 'oci', dest: folder })).rejects.toMatchObject(refused);
    await expect(writeOutput({ ...request, type: 'oci', dest: join(folder, 'precious') })).rejects.toMatchObject(
      refused,
    );
    await expect(writeOutput({ ...request, type: 'oci', dest: '-' })).rejects.toMatchObject(refused);
    await expect(writeOutput({ ...request, type: 'oci-archive', dest: folder })).rejects.toMatchObject(refused);
    await expect(writeOutput({ ...request, type: 'oci-archive', dest: '/dev/null' })).rejects.toMatchObject(refused);
    const orphan = join(folder, 'no/such/x.tar');
    await expect(writeOutput({ ...request, type: 'oci-archive', dest: orphan })).rejects.toMatchObject(refused);
    expect(await readdir(folder)).toEqual(['precious']);
  });

  test('two platforms do not fit a docker-archive', async () => {
    const store = await newStore();
    const { index } = await smallImage(store, ['amd64', 'arm64']);
    const dest = join(await scratch(), 'x.tar');
    await expect(
      writeOutput({ store, image: storeImage(store, index), refs: [], type: 'docker-archive', dest }),
    ).rejects.toMatchObject({
      code: 'usage',
    });
  });

  test.each(['oci', 'oci-archive'] as const)('a blob damaged in the store: %s keeps what it was', async (type) => {
    const store = await newStore();
    const { index, layer } = await smallImage(store, ['amd64']);
    const folder = await scratch();
    const dest = join(folder, 'out');
    if (type === 'oci-archive') await writeFile(dest, 'before');
    const path = store.blobPath(layer.digest);
    await chmod(path, 0o644);
    await writeFile(path, Buffer.alloc(layer.size));
    await utimes(path, 1, 1);
    await expect(
      writeOutput({ store, image: storeImage(store, index), refs: ['x'], type, dest }),
    ).rejects.toMatchObject({ code: 'store' });
    expect(await readdir(folder)).toEqual(type === 'oci' ? [] : ['out']);
    if (type === 'oci-archive') expect(await readFile(dest, 'utf8')).toBe('before');
  });

  test.each(['oci', 'oci-archive'] as const)(
    'what a killed process left beside the destination goes with the next %s; what others write stays',
    async (type) => {
      const store = await newStore();
      const { index, layer } = await smallImage(store, ['amd64']);
      const folder = await scratch();
      const dest = join(folder, 'out');
      // Named by a process that has ended, by this one that lives, and by people.
      const alive = temporaryBeside(dest);
      const dead = alive.replace(`-${process.pid}-`, `-${spawnSync('true').pid}-`);
      const kept = [alive, join(folder, 'out.1234-abc.tmp'), join(folder, 'out.tmp'), dead.replace('/out.', '/other.')];
      for (const path of kept) await writeFile(path, '');
      if (type === 'oci') await mkdir(join(dead, 'blobs'), { recursive: true });
      else await writeFile(dead, 'half');
      await writeOutput({ store, image: storeImage(store, index), refs: ['x'], type, dest });
      expect((await readdir(folder)).sort()).toEqual(['out', ...kept.map((path) => basename(path))].sort());
      if (type !== 'oci') return;
      // The same inside a layout that exists.
      const half = join(dest, 'blobs/sha256', `${layer.digest.slice(7)}${dead.slice(dest.length)}`);
      await writeFile(half, 'half');
      await writeOutput({ store, image: storeImage(store, index), refs: ['x'], type, dest });
      expect(await readdir(join(dest, 'blobs/sha256'))).not.toContain(basename(half));
    },
  );
});
