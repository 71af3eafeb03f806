/** A full disk, and images larger than memory may grow. */
import { execFile } from 'node:child_process';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { compressLayer } from '../../../src/oci/compress.ts';
import { mediaType } from '../../../src/oci/descriptor.ts';
import { buildImage, buildIndex } from '../../../src/oci/image/build.ts';
import { writeOutput } from '../../../src/oci/output/output.ts';
import { platformOf } from '../../../src/oci/platform.ts';
import { storeImage } from '../../../src/oci/store/image.ts';
import { Store } from '../../../src/oci/store/store.ts';
import { check } from '../../support/command.ts';
import { describeWith } from '../../support/requirements.ts';
import { newStore, scratch, smallImage } from '../../unit/oci/fixture.ts';

const exec = promisify(execFile);

/** A disk of a few mebibytes. */
async function tinyDisk(mebibytes: number): Promise<string> {
  const folder = join(await scratch(), 'disk');
  await mkdir(folder);
  await check(['mount', '-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', folder]);
  onTestFinished(async () => void (await check(['umount', folder])));
  return folder;
}

async function* zeros(mebibytes: number): AsyncGenerator<Buffer> {
  for (let i = 0; i < mebibytes; i++) yield Buffer.alloc(1 << 20);
}

describeWith('a full disk', ['root', 'mount'], () => {
  test('under the store: an error that names it, no half blob, and it works again with room', async () => {
    const disk = await tinyDisk(4);
    const store = await Store.open(disk);
    await expect(store.write(zeros(8))).rejects.toMatchObject({
      code: 'disk-full',
      hint: expect.stringContaining('KINA_CACHE_DIR'),
    });
    expect(await readdir(join(disk, 'tmp'))).toEqual([]);
    expect(await readdir(join(disk, 'blobs/sha256'))).toEqual([]);
    await store.write(zeros(2));
  });

  test.each(['oci', 'oci-archive', 'docker-archive'] as const)(
    'under an output of type %s: nothing half-written',
    async (type) => {
      const disk = await tinyDisk(1);
      const store = await newStore();
      const layer = await store.write(zeros(4));
      const descriptor = { mediaType: mediaType.layer, ...layer };
      const { manifest } = await buildImage(store, {
        platform: platformOf('amd64'),
        layers: [{ diffId: layer.digest, descriptor, history: { createdBy: 'test' } }],
        config: {},
        created: 0,
      });
      const index = await buildIndex(store, [manifest]);
      const dest = join(disk, 'out');
      await expect(
        writeOutput({ store, image: storeImage(store, index), refs: ['x'], type, dest }),
      ).rejects.toMatchObject({ code: 'disk-full' });
      expect(await readdir(disk)).toEqual([]);
      const small = await smallImage(store, ['amd64']);
      await writeOutput({ store, image: storeImage(store, small.index), refs: ['x'], type, dest });
      expect(await readdir(disk)).toEqual(['out']);
    },
  );
});

describeWith('memory', [], () => {
  test('a layer of 512 MiB through store, compressor, archive and import stays under 250 MiB', async () => {
    const folder = await scratch();
    const { stdout } = await exec(process.execPath, [join(import.meta.dirname, 'large-layer.ts'), folder]);
    expect(Number(stdout)).toBeLessThan(250);
    await rm(folder, { recursive: true });
  });

  test('several layers are compressed side by side, each once', async () => {
    const store = await newStore();
    const layers = await Promise.all([3, 4, 5].map((size) => store.write(zeros(size))));
    const compress = () =>
      Promise.all(
        layers.map((layer) => compressLayer(store, { mediaType: mediaType.layer, ...layer }, { kind: 'zstd' })),
      );
    expect(await compress()).toEqual(await compress());
  });
});
