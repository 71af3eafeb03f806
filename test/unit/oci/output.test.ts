import { chmod, mkdir, readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { sha256 } from '../../../src/host/json.ts';
import { importArchive } from '../../../src/oci/import.ts';
import { writeOutput } from '../../../src/oci/output.ts';
import { newStore, scratch, smallImage } from './fixture.ts';

describe('destinations', () => {
  test('equal images give equal archives, from different stores', async () => {
    const digests = [];
    for (const architectures of [['amd64', 'arm64'] as const, ['arm64', 'amd64'] as const]) {
      const store = await newStore();
      const { index } = await smallImage(store, architectures);
      const dest = join(await scratch(), 'x.tar');
      await writeOutput({ store, index, refs: ['localhost/x:1'], type: 'oci-archive', dest });
      digests.push(sha256(await readFile(dest)));
    }
    expect(digests[0]).toBe(digests[1]);
  });

  test('a layout gets further images beside those it has; the same name moves', async () => {
    const [store, dest] = [await newStore(), join(await scratch(), 'layout')];
    await mkdir(dest); // an empty folder is as good as none
    const one = await smallImage(store, ['amd64']);
    const two = await smallImage(store, ['arm64']);
    await writeOutput({ store, index: one.index, refs: ['a:1'], type: 'oci', dest });
    await writeOutput({ store, index: one.index, refs: ['b:1'], type: 'oci', dest });
    await writeOutput({ store, index: two.index, refs: ['a:1'], type: 'oci', dest });
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
    expect(await importArchive(await newStore(), dest)).toHaveLength(2);
  });

  test('a folder of something else, a folder for a file, a missing parent: refused, nothing touched', async () => {
    const store = await newStore();
    const { index } = await smallImage(store, ['amd64']);
    const folder = await scratch();
    await writeFile(join(folder, 'precious'), '');
    const request = { store, index, refs: ['x'] };
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
    await expect(writeOutput({ store, index, refs: [], type: 'docker-archive', dest })).rejects.toMatchObject({
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
    await expect(writeOutput({ store, index, refs: ['x'], type, dest })).rejects.toMatchObject({ code: 'store' });
    expect(await readdir(folder)).toEqual(type === 'oci' ? [] : ['out']);
    if (type === 'oci-archive') expect(await readFile(dest, 'utf8')).toBe('before');
  });
});
