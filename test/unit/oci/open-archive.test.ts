/** Images read where they lie: the tars of several programs, and what hostile or broken ones say. */
import { mkdir, readdir, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { openArchive } from '../../../src/oci/archive/open.ts';
import { scanTar } from '../../../src/oci/archive/tar-scan.ts';
import { contentsOf } from '../../../src/oci/image/contents.ts';
import { openImage } from '../../../src/oci/image/select.ts';
import { check } from '../../support/command.ts';
import { describeWith } from '../../support/requirements.ts';
import { importImages, newStore, scratch, smallImage } from './fixture.ts';

const long = `${'folder/'.repeat(20)}${'n'.repeat(120)}`;

describe.each([
  ['tar', '--format=gnu'],
  ['tar', '--format=ustar'],
  ['tar', '--format=pax'],
  ['bsdtar', '--format=gnutar'],
  ['bsdtar', '--format=pax'],
])('%s %s', (program, format) => {
  describeWith('is read', [program], () => {
    test('names of any length, sizes around a block, links', async () => {
      const folder = await scratch();
      const names = format === '--format=ustar' ? ['a/short', `${'f/'.repeat(60)}name`] : ['a/short', long];
      const sizes = [0, 1, 511, 512, 513];
      await mkdir(join(folder, 'in', names[1]!, '..'), { recursive: true });
      await mkdir(join(folder, 'in/a'), { recursive: true });
      for (const size of sizes) await writeFile(join(folder, `in/a/${size}`), 'x'.repeat(size));
      for (const name of names) await writeFile(join(folder, 'in', name), name);
      await check(['ln', '-s', 'short', join(folder, 'in/a/link')]);
      await check(['ln', join(folder, 'in/a/513'), join(folder, 'in/a/twin')]);
      await check([program, format, '-cf', join(folder, 'out.tar'), '-C', join(folder, 'in'), '.']);
      const find = (await scanTar(join(folder, 'out.tar')))!;
      for (const size of sizes) expect(find(`a/${size}`)?.size).toBe(size);
      for (const name of names) expect(find(`./${name}`)?.size).toBe(name.length);
      expect(find('a/link')).toEqual(find('a/short'));
      expect(find('a/twin')).toEqual(find('a/513'));
      expect(find('a')).toBeUndefined();
      expect(find('a/nothing')).toBeUndefined();
    });
  });
});

describeWith('archives of skopeo', ['skopeo'], () => {
  test.each(['docker-archive', 'oci-archive', 'oci'])(
    '%s: the same image as importing finds, nothing copied',
    async (form) => {
      const store = await newStore();
      const { index } = await smallImage(store, ['amd64'], { kind: 'gzip', level: 6 });
      await store.tag('example.org/app:1', index);
      const place = join(await scratch(), 'image');
      const policy = ['--insecure-policy', 'copy', '--quiet'];
      await check(['skopeo', ...policy, `oci:${store.root}:example.org/app:1`, `${form}:${place}:example.org/app:1`]);
      const other = await newStore();
      const before = await readdir(join(other.root, 'blobs/sha256'));
      const [opened] = await openArchive(other, place);
      const { platforms } = await contentsOf(opened!);
      expect(await readdir(join(other.root, 'blobs/sha256'))).toEqual(before);
      const [imported] = await importImages(other, place);
      expect(platforms[0]!.manifest.layers).toEqual(imported!.layers);
      expect(opened!.names).toEqual(['example.org/app:1']);
      const original = (await openImage(store, 'example.org/app:1')).platforms[0]!;
      expect(platforms[0]!.config).toEqual(original.config);
      for (const { digest, size } of platforms[0]!.manifest.layers) {
        let bytes = 0;
        for await (const chunk of opened!.blob({ digest, size })) bytes += chunk.length;
        expect(bytes).toBe(size);
      }
    },
  );
});

describe('broken archives', () => {
  const tarOf = async (): Promise<string> => {
    const folder = await scratch();
    await writeFile(join(folder, 'file'), 'x'.repeat(5000));
    await check(['tar', '-cf', join(folder, 'out.tar'), '-C', folder, 'file', 'file']);
    return join(folder, 'out.tar');
  };

  test('cut short, in a file or in the headers', async () => {
    for (const size of [2000, 512 * 12 + 100]) {
      const path = await tarOf();
      await truncate(path, size);
      const found = await scanTar(path).catch((error) => error.message);
      // A part of a header is not a member; which blob is missing is for the image's documents to say.
      if (size === 2000) expect(found).toMatch(/cut short/);
    }
  });

  test('something else after a member, or no tar at all', async () => {
    const path = await tarOf();
    await writeFile(path, Buffer.alloc(1024, 'y'), { flag: 'r+' });
    expect(await scanTar(path)).toBeUndefined();
    const other = await tarOf();
    await writeFile(`${other}.txt`, 'text');
    await expect(openArchive(await newStore(), `${other}.txt`)).rejects.toMatchObject({ code: 'archive' });
    await expect(openArchive(await newStore(), other)).rejects.toThrow('neither an OCI image nor a docker-archive');
    await expect(openArchive(await newStore(), join(other, 'none'))).rejects.toMatchObject({ code: 'not-found' });
  });
});
