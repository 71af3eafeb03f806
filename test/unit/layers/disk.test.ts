/** An image as a disk: what e2fsprogs reads from it is what a container would see. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { writeDisk } from '../../../src/layers/image/disk.ts';
import { compressLayer } from '../../../src/oci/compress.ts';
import { mediaType } from '../../../src/oci/descriptor.ts';
import { buildImage } from '../../../src/oci/image/build.ts';
import { readContents } from '../../../src/oci/image/contents.ts';
import { tarStream } from '../../../src/oci/output/tar.ts';
import { platformOf } from '../../../src/oci/platform.ts';
import { bytesContent, type Entry } from '../../../src/tree/entry.ts';
import { writeTar } from '../../../src/tree/tar-write.ts';
import { directory, file } from '../../../src/tree/tree.ts';
import { foreignImage, type Piece } from '../../support/foreign-image.ts';
import { describeUnless, missing, pathOf } from '../../support/requirements.ts';
import { blobsOf, newStore, scratch } from '../oci/fixture.ts';

const text = (path: string, content: string, mode?: number, uid?: number): Entry =>
  file(path, bytesContent(content), 'test', mode, uid);
const link = (path: string, target: string): Entry => ({ ...text(path, ''), type: 'hardlink', target }) as Entry;

describeUnless(missing(['e2fsck', 'debugfs']), 'the disk of an image', () => {
  test('layers lie over each other; a replaced name leaves the other names of its file alone', async () => {
    const store = await newStore();
    const lower = await store.write(
      writeTar(
        [
          directory('etc', 'test', 0o750, 7, 8),
          text('etc/a', 'first', 0o640, 9),
          link('etc/b', 'etc/a'),
          text('etc/gone', 'x'),
          text('etc/kept', 'lower'),
          link('etc/z', 'etc/a'),
        ],
        { mtime: 0 },
      ),
    );
    // not our layer writer, which refuses whiteouts; and read from the compressed blob only
    const upper = await store.write(
      tarStream(blobsOf(store), [
        { name: 'etc/.wh.gone', bytes: Buffer.alloc(0) },
        { name: 'etc/a', bytes: Buffer.from('second, and longer') },
        { name: 'opt/big', bytes: Buffer.alloc(3_000_000, 'kina ') },
      ]),
    );
    const layers = [];
    for (const written of [lower, upper]) {
      const plain = { mediaType: mediaType.layer, ...written };
      const descriptor = await compressLayer(store, plain, { kind: 'gzip' });
      layers.push({ diffId: plain.digest, descriptor, history: { createdBy: 'test' } });
    }
    const { manifest } = await buildImage(store, { platform: platformOf('arm64'), layers, config: {}, created: 0 });
    const [image] = (await readContents(store, manifest)).platforms;
    const folder = await scratch();
    const disk = join(folder, 'disk');
    await writeDisk(store, image!, disk, { size: 1 << 30 });

    expect((await stat(disk)).size).toBe(1 << 30);
    expect((await stat(disk)).blocks * 512).toBeLessThan(8 << 20);
    execFileSync(pathOf('e2fsck')!, ['-fn', disk], { stdio: 'pipe' });
    const ask = (command: string): string =>
      execFileSync(pathOf('debugfs')!, ['-R', command, disk], { encoding: 'utf8', stdio: 'pipe' });
    expect(ask('cat /etc/a')).toBe('second, and longer');
    expect(ask('cat /etc/b')).toBe('first');
    expect(ask('cat /etc/z')).toBe('first');
    expect(ask('cat /etc/kept')).toBe('lower');
    expect(ask('stat /etc/b')).toMatch(/Mode: {2}0640[\s\S]*User: +9[\s\S]*Links: 2/);
    expect(ask('ls -p /etc')).not.toContain('gone');
    ask(`dump /opt/big ${join(folder, 'big')}`);
    expect(readFileSync(join(folder, 'big')).equals(Buffer.alloc(3_000_000, 'kina '))).toBe(true);
  });

  test('a layer that is not there is told by name, and no disk is left to be taken for one', async () => {
    const store = await newStore();
    const layer = { mediaType: mediaType.layer, digest: `sha256:${'1'.repeat(64)}` as const, size: 10 };
    const { manifest } = await buildImage(store, {
      platform: platformOf('arm64'),
      layers: [{ diffId: layer.digest, descriptor: layer, history: { createdBy: 'kina: base' } }],
      config: {},
      created: 0,
    });
    const [image] = (await readContents(store, manifest)).platforms;
    const disk = join(await scratch(), 'disk');
    await expect(writeDisk(store, image!, disk, { size: 1 << 30 })).rejects.toThrow(/the layer base, sha256:1111/);
    await expect(stat(disk)).rejects.toThrow(/ENOENT/);
  });

  /** The disk of an image of others, for reading only, and a way to ask about it. */
  async function diskOf(layers: Piece[][], options: Parameters<typeof foreignImage>[2] = {}, texts: string[] = []) {
    const store = await newStore();
    const [image] = (await readContents(store, await foreignImage(store, layers, options))).platforms;
    const path = join(await scratch(), 'disk');
    const written = await writeDisk(store, image!, path, { texts });
    execFileSync(pathOf('e2fsck')!, ['-fn', path], { stdio: 'pipe' });
    const ask = (command: string): string =>
      execFileSync(pathOf('debugfs')!, ['-R', command, path], { encoding: 'utf8', stdio: 'pipe' });
    return { ask, ...written };
  }

  test('a path twice in one layer: the last one counts, and the first one’s bytes go nowhere', async () => {
    // by path alone, a megabyte would be written over whatever follows the small file
    const { ask } = await diskOf([
      [
        { name: 'a', content: Buffer.alloc(1 << 20, 'A') },
        { name: 'a', content: 'small' },
        { name: 'z', content: 'untouched' },
      ],
    ]);
    expect([ask('cat /a'), ask('cat /z')]).toEqual(['small', 'untouched']);
  });

  test('hard links: to a lower layer, to what stands behind, to a link, to what was replaced since', async () => {
    const { ask } = await diskOf([
      [
        { name: 'file', content: 'first', mtime: new Date(1000) },
        { name: 'early', type: 'link', linkname: 'late' },
        { name: 'late', content: 'late' },
        { name: 'soft', type: 'symlink', linkname: 'file' },
        { name: 'hard-soft', type: 'link', linkname: 'soft' },
        { name: 'before', type: 'link', linkname: 'file' },
        { name: 'file', content: 'second' },
      ],
      [{ name: 'above', type: 'link', linkname: 'file' }],
    ]);
    expect(['early', 'before', 'above', 'file'].map((name) => ask(`cat /${name}`))).toEqual([
      'late',
      'first',
      'second',
      'second',
    ]);
    expect(ask('stat /hard-soft')).toContain('Fast link dest: "file"');
    expect(ask('stat /above')).toMatch(/Links: 2/);
    expect(ask('stat /before')).toMatch(/Links: 1/);
  });

  test('devices, fractions of seconds, attributes of other systems, and a leading slash', async () => {
    const { ask, texts } = await diskOf(
      [
        [
          { name: '/dev/', type: 'directory', mode: 0o755 },
          { name: '/dev/null', type: 'character-device', mode: 0o666, devmajor: 1, devminor: 3 },
          {
            name: '/etc/real',
            content: 'root:x:0:0\n',
            pax: { mtime: '1600000000.5', 'SCHILY.xattr.com.apple.quarantine': 'q', 'SCHILY.xattr.user.kept': 'k' },
          },
          { name: 'etc/passwd', type: 'symlink', linkname: '/etc/real' },
        ],
      ],
      { compression: { kind: 'zstd' } },
      ['etc/passwd', 'etc/group'],
    );
    expect(ask('stat /dev/null')).toMatch(/character special[\s\S]*0666[\s\S]*01:03/);
    expect(ask('stat /etc/real')).toContain('mtime: 0x5f5e1000:77359400');
    expect(ask('ea_list /etc/real')).toMatch(/user\.kept/);
    expect(ask('ea_list /etc/real')).not.toContain('quarantine');
    expect([...texts]).toEqual([['etc/passwd', 'root:x:0:0\n']]);
  });

  test('layers that are not those of the config are refused: the disk would be kept under the name of another', async () => {
    const other = `sha256:${'1'.repeat(64)}` as const;
    const layer = [{ name: 'a', content: 'a' }];
    for (const compression of [undefined, { kind: 'gzip' } as const])
      await expect(
        diskOf([layer], { diffIds: [other], ...(compression ? { compression } : {}) }),
      ).rejects.toMatchObject({
        code: 'integrity',
        details: [`expected ${other}`, expect.stringContaining('found')],
      });
  });

  test.each<[string, Piece]>([
    ['a path out of the root', { name: '../../etc/cron.d/x', content: 'x' }],
    ['a hard link out of the root', { name: 'a', type: 'link', linkname: '../../../etc/shadow' }],
    ['a hard link to nothing', { name: 'a', type: 'link', linkname: 'nothing' }],
    ['a hard link to a folder', { name: 'a', type: 'link', linkname: 'folder' }],
  ])('%s is refused', async (_, piece) => {
    await expect(diskOf([[{ name: 'folder', type: 'directory' }, piece]])).rejects.toMatchObject({ code: 'archive' });
  });

  test('a link to the machine’s own files leads into the image', async () => {
    const { ask } = await diskOf([
      [{ name: 'out', type: 'symlink', linkname: '/etc' }],
      [{ name: 'out/passwd', content: 'the image’s' }],
    ]);
    expect(ask('cat /etc/passwd')).toBe('the image’s');
    expect(ask('stat /out')).toContain('Fast link dest: "/etc"');
  });
});
