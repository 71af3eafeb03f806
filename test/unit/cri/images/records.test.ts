/** What a process that died at the worst moment leaves: only whole images may be found, and nothing else may stay. */
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type ImageRecord, ImageRecords } from '../../../../src/cri/images/records.ts';
import type { Digest } from '../../../../src/oci/descriptor.ts';
import { temporaryName } from '../../../../src/oci/store/leases.ts';
import { scratch } from '../../oci/fixture.ts';

const id = (character: string): Digest => `sha256:${character.repeat(64)}`;
const record = (own: Digest): ImageRecord => ({
  id: own,
  config: { os: 'linux', architecture: 'amd64', rootfs: { type: 'layers', diff_ids: [] } },
  passwd: 'root:x:0:0::/:\n',
  group: '',
  size: 4,
  inodes: 1,
  blobs: [{ digest: id('f'), size: 10 }],
});

async function withImages(...ids: Digest[]): Promise<ImageRecords> {
  const records = await ImageRecords.open(join(await scratch(), 'images'));
  for (const own of ids) {
    const disk = records.temporaryDisk();
    await writeFile(disk, 'disk');
    expect(await records.add(record(own), disk)).toBe(true);
    await records.name(own, [`a:${own.slice(7, 8)}`]);
  }
  return records;
}
const disksIn = (records: ImageRecords): Promise<string[]> => readdir(join(records.folder, 'disks'));

test('everything is there after a restart', async () => {
  const before = await withImages(id('1'), id('2'));
  const after = await ImageRecords.open(before.folder);
  expect(after.all().sort((a, b) => (a.id < b.id ? -1 : 1))).toEqual([record(id('1')), record(id('2'))]);
  expect(after.namesOf(id('2'))).toEqual(['a:2']);
});

test('a name moves, and is never on two images', async () => {
  const records = await withImages(id('1'), id('2'));
  await records.name(id('2'), ['a:1', 'a@x']);
  const again = await ImageRecords.open(records.folder);
  expect([again.namesOf(id('1')), again.namesOf(id('2'))]).toEqual([[], ['a:1', 'a:2', 'a@x']]);
});

test('a disk without a record, a record without its whole disk and their names are not images', async () => {
  const records = await withImages(id('1'), id('2'), id('3'));
  const hex = (digit: string) => digit.repeat(64);
  await writeFile(join(records.folder, 'disks', `${hex('4')}.ext4`), 'orphan');
  await writeFile(join(records.folder, 'records', `${hex('2')}.json`), '{"torn');
  await rm(records.diskOf(id('3')));
  await writeFile(records.diskOf(id('3')), 'short of it'.slice(0, 2));
  const after = await ImageRecords.open(records.folder);
  expect(after.all().map((one) => one.id)).toEqual([id('1')]);
  expect([...after.names]).toEqual([['a:1', id('1')]]);
  expect(await disksIn(after)).toEqual([`${hex('1')}.ext4`]);
  expect(await readdir(join(after.folder, 'records'))).toEqual([`${hex('1')}.json`]);
});

test('half-made disks of dead processes go, those of living ones stay', async () => {
  const folder = join(await scratch(), 'images');
  await mkdir(join(folder, 'tmp'), { recursive: true });
  const living = temporaryName();
  const dead = living.replace(`-${process.pid}-`, '-999999999-');
  for (const name of [living, dead]) await writeFile(join(folder, 'tmp', name), '');
  await writeFile(join(folder, 'names.json.1-2.tmp'), 'half');
  await ImageRecords.open(folder);
  expect(await readdir(join(folder, 'tmp'))).toEqual([living]);
  expect(await readdir(folder)).not.toContain('names.json.1-2.tmp');
});

test('a folder that cannot be used is told by name', async () => {
  const file = join(await scratch(), 'file');
  await writeFile(file, '');
  await expect(ImageRecords.open(join(file, 'images'))).rejects.toMatchObject({ code: 'store' });
});
