/** The ext4 writer against those who know the format best: e2fsck and debugfs. */
import { closeSync, ftruncateSync, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { bytesContent, type Entry, readAll, sliceContent } from '../../../src/tree/entry.ts';
import { layoutExt4 } from '../../../src/tree/ext4.ts';
import type { DiskEntry } from '../../../src/tree/ext4-format.ts';
import { directory, file, symlink } from '../../../src/tree/tree.ts';
import { describeUnless, missing, pathOf } from '../../support/requirements.ts';
import { randomBytes, randomness, run, scratch } from './support.ts';

const folder = scratch();
const e2fsck = pathOf('e2fsck');
const debugfs = pathOf('debugfs');

const options = { time: 1_600_000_000, uuid: Buffer.alloc(16, 7), label: 'test' };

/** Writes the disk, the files' bytes too unless they are only promised. */
async function disk(name: string, entries: readonly DiskEntry[], wanted?: number): Promise<string> {
  const path = join(folder, name);
  const { metadata, offsets, size } = layoutExt4(entries, { ...options, size: wanted });
  const fd = openSync(path, 'w');
  ftruncateSync(fd, size);
  for (const { offset, bytes } of metadata) writeSync(fd, bytes, 0, bytes.length, offset);
  for (const entry of entries)
    if (entry.type === 'file' && !entry.content.segments.some((s) => 'file' in s)) {
      const bytes = await readAll(entry.content);
      if (bytes.length) writeSync(fd, bytes, 0, bytes.length, offsets.get(entry.path)!);
    }
  closeSync(fd);
  return path;
}

const promised = (path: string, size: number): Entry => file(path, sliceContent('nowhere', 0, size, 'zeros'), 'test');

describeUnless(missing(['e2fsck', 'debugfs']), 'ext4', () => {
  const clean = (path: string) => expect(run(e2fsck!, ['-fn', path]).toString()).toMatch(/test: \d+\/\d+ files/);
  const ask = (path: string, command: string) => run(debugfs!, ['-R', command, path]).toString();

  test('everything that a tree can hold is what e2fsck expects and debugfs reads', async () => {
    const random = randomness(1);
    const content = randomBytes(random, 9000);
    const entries: Entry[] = [
      directory('etc', 'test', 0o755),
      directory('root', 'test', 0o700),
      directory('tmp', 'test', 0o1777, 3, 70_000),
      file('etc/empty', bytesContent(''), 'test', 0o600),
      file('etc/data', bytesContent(content), 'test', 0o4755, 3_000_000, 42),
      {
        ...file('etc/capable', bytesContent('x'), 'test'),
        xattrs: new Map([
          ['security.capability', Buffer.from('0100000200200000000000000000000000000000', 'hex')],
          ['user.z', Buffer.from('odd')],
          ['user.a', Buffer.alloc(0)],
        ]),
      },
      { ...file('etc/second', bytesContent(''), 'test'), type: 'hardlink', target: 'etc/data' },
      symlink('short', 'a'.repeat(59), 'test'),
      symlink('long', 'b'.repeat(60), 'test'),
      symlink('longest', 'c'.repeat(4000), 'test'),
      file(`etc/${'ü'.repeat(127)}`, bytesContent('name of 254 bytes'), 'test'),
    ];
    // a directory of several blocks, and of every length of name
    entries.push(directory('many', 'test'));
    for (let i = 0; i < 600; i++) entries.push(file(`many/${'n'.repeat(i % 50)}${i}`, bytesContent(`${i}`), 'test'));
    const path = await disk('all', entries, 300 << 20);
    clean(path);
    const copy = join(folder, 'copy');
    ask(path, `dump /etc/second ${copy}`);
    expect(readFileSync(copy).equals(content)).toBe(true);
    expect(ask(path, 'stat /etc/data')).toMatch(/Mode: {2}04755[\s\S]*User: 3000000 {3}Group: +42[\s\S]*Links: 2/);
    expect(ask(path, 'stat /tmp')).toMatch(/Mode: {2}01777[\s\S]*User: +3 {3}Group: 70000/);
    expect(ask(path, 'stat /short')).toContain('Fast link dest: "aaa');
    expect(ask(path, 'cat /long')).toBe('b'.repeat(60));
    expect(ask(path, 'ea_list /etc/capable')).toMatch(/security\.capability \(20\) = 01 00 00 02/);
    expect(ask(path, 'ls -p /many').match(/\/100644\/0\/0\/n*\d+\//g)).toHaveLength(600);
  });

  test('a file of more extents than fit its inode, and a disk that ends inside a group', async () => {
    const path = await disk('large', [promised('big', 700 << 20), promised('next', 5)], (900 << 20) + 12 * 4096);
    clean(path);
    expect(ask(path, 'ex /big').trim().split('\n')).toHaveLength(1 + 1 + 6);
  });

  test('an empty tree', async () => clean(await disk('empty', [], 64 << 20)));

  describe('for reading only', () => {
    test.each([0, 1, 5, 16, 100, 33_000, 70_000])(
      '%d files, most of them empty, and no more disk than they need',
      async (count) => {
        const entries = Array.from({ length: count }, (_, i) => file(`f${i}`, bytesContent(i % 64 ? '' : 'x'), 'test'));
        const path = await disk(`exact-${count}`, entries);
        clean(path);
        expect(ask(path, 'stats')).toMatch(/Filesystem features: .*read-only/);
        // small images are many: each must not cost a megabyte of tables
        if (count <= 16) expect(statSync(path).size).toBeLessThan(64 << 10);
        // more files than a group has room for take another group, as a hole
        if (count <= 100) expect(ask(path, 'stats')).toMatch(/Free blocks: +0\n/);
        expect(statSync(path).blocks * 512).toBeLessThan((count + 64) * 512);
        expect(ask(path, 'ls /')).not.toContain('lost+found');
      },
    );

    test('sizes around the border of a group', async () => {
      for (const blocks of [32_768 - 8, 32_768, 32_769, 2 * 32_768 - 12, 2 * 32_768 + 1])
        clean(await disk('border', [promised('big', blocks * 4096)]));
    });

    test('devices, pipes and times are those of the entries', async () => {
      const common = { mode: 0o640, uid: 0, gid: 5, owner: 'test' };
      const special = (
        path: string,
        kind: 'character-device' | 'block-device' | 'fifo',
        major = 0,
        minor = 0,
      ): DiskEntry => ({
        ...common,
        path,
        type: 'special',
        kind,
        major,
        minor,
        mtime: 1_234_567_890_123_456_789n,
      });
      const path = await disk('special', [
        special('null', 'character-device', 1, 3),
        special('big', 'block-device', 259, 300_000),
        special('pipe', 'fifo'),
        { ...promised('old', 0), mtime: -86_400_000_000_001n },
        { ...promised('late', 0), mtime: 5_000_000_000n * 1_000_000_000n },
        { ...promised('never', 0), mtime: 10n ** 30n },
      ]);
      clean(path);
      expect(ask(path, 'stat /null')).toMatch(/Type: character special[\s\S]*Device major\/minor number: 01:03/);
      expect(ask(path, 'stat /big')).toMatch(
        /Type: block special[\s\S]*\(New-style\) Device major\/minor number: 259:300000/,
      );
      expect(ask(path, 'stat /pipe')).toContain('Type: FIFO');
      expect(ask(path, 'stat /null')).toMatch(/mtime: 0x499602d2:1d6f3454/);
      expect(ask(path, 'stat /old')).toContain('mtime: 0xfffeae7f:ee6b27fc');
      expect(ask(path, 'stat /late')).toContain('mtime: 0x2a05f200:00000001');
    });

    test('an access list is turned into the form on the disk', async () => {
      // user::rw- user:1000:r-- group::r-- mask::r-- other::---, as the kernel hands it out
      const acl = '0200000001000600ffffffff02000400e803000004000400ffffffff10000400ffffffff20000000ffffffff';
      const xattrs = new Map([['system.posix_acl_access', Buffer.from(acl, 'hex')]]);
      const path = await disk('acl', [{ ...promised('f', 0), xattrs }]);
      clean(path);
      // debugfs turns it back, but for the ids of entries that have none
      expect(ask(path, 'ea_get -x /f system.posix_acl_access').replaceAll(' ', '')).toContain(
        acl.replaceAll('ffffffff', '00000000'),
      );
    });
  });
});

describe('what cannot be', () => {
  const lay =
    (entries: Entry[], size = 64 << 20) =>
    () =>
      layoutExt4(entries, { ...options, size });

  test('more data than the disk can hold', () => expect(lay([promised('a', 65 << 20)])).toThrow(/have 67108864/));
  test('a file without a parent directory', () => expect(lay([promised('a/b', 1)])).toThrow(/has no parent directory/));
  test('a link to a missing file', () =>
    expect(lay([{ ...symlink('a', 'x', 'test'), type: 'hardlink', target: 'gone' }])).toThrow(/is not a file/));
  test('attributes of an unknown namespace', () =>
    expect(lay([{ ...promised('a', 1), xattrs: new Map([['odd.x', Buffer.alloc(1)]]) }])).toThrow(/unknown namespace/));
});
