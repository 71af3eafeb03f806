/** An image as a disk: what e2fsprogs reads from it is what a container would see. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { writeDisk } from '../../../src/layers/image/disk.ts';
import { compressLayer } from '../../../src/oci/compress.ts';
import { readContents } from '../../../src/oci/contents.ts';
import { mediaType } from '../../../src/oci/descriptor.ts';
import { buildImage } from '../../../src/oci/image.ts';
import { platformOf } from '../../../src/oci/platform.ts';
import { tarStream } from '../../../src/oci/tar.ts';
import { bytesContent, type Entry } from '../../../src/tree/entry.ts';
import { writeTar } from '../../../src/tree/tar-write.ts';
import { directory, file } from '../../../src/tree/tree.ts';
import { describeUnless, missing, pathOf } from '../../support/requirements.ts';
import { newStore, scratch } from '../oci/fixture.ts';

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
      tarStream(store, [
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
});
