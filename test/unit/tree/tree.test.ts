import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { bytesContent, type Entry, readRange } from '../../../src/tree/entry.ts';
import { canonicalPath, comparePaths, directory, file, symlink, Tree } from '../../../src/tree/tree.ts';
import { scratch } from './support.ts';

const empty = bytesContent('');
const link = (path: string, target: string): Entry => ({ ...file(path, empty, 'test'), type: 'hardlink', target });

describe('Tree', () => {
  test('a hard link through a usr-merge link names its file by the real path', () => {
    const tree = new Tree();
    tree.add(symlink('bin', 'usr/bin', 'base'));
    tree.add(file('bin/perl', empty, 'perl'));
    tree.add(link('bin/perl5', 'bin/perl'));
    expect(tree.get('usr/bin/perl5')).toMatchObject({ target: 'usr/bin/perl' });
    expect(tree.file('bin/perl5')?.path).toBe('usr/bin/perl');
  });

  test('a directory never undoes a usr-merge link, not even with replace', () => {
    const tree = new Tree();
    tree.add(symlink('bin', 'usr/bin', 'base'));
    tree.add(directory('usr/bin', 'base'));
    tree.add(directory('bin', 'overlay'), { replace: true });
    expect(tree.get('bin')?.type).toBe('symlink');
  });

  test('files that differ in attributes only are a conflict', () => {
    const tree = new Tree();
    const capable = (value: string) => new Map([['security.capability', Buffer.from(value)]]);
    tree.add({ ...file('ping', empty, 'a'), xattrs: capable('x') });
    tree.add({ ...file('ping', empty, 'b'), xattrs: capable('x') });
    expect(() => tree.add({ ...file('ping', empty, 'c'), xattrs: capable('y') })).toThrowError(/two owners/);
    expect(() => tree.add(file('ping', empty, 'd'))).toThrowError(/two owners/);
  });
});

test('paths sort by UTF-8 bytes: the order of memcmp, of the OCI layer and of `LC_ALL=C sort`', () => {
  const paths = [
    'a',
    'a-b',
    'a/b',
    'a.b',
    'B',
    'é',
    '\ue000',
    '\uffff',
    '\u{1f422}',
    'a\u{1f422}',
    'a\uff5e',
    '',
    'ab',
  ];
  for (const a of paths)
    for (const b of paths)
      expect(Math.sign(comparePaths(a, b))).toBe(Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b))));
});

test.each(['/etc', '../x', 'a/../../b', 'a\0b', './/../x', './/etc/../..'])('canonicalPath refuses %j', (path) => {
  expect(() => canonicalPath(path, 'test')).toThrowError(expect.objectContaining({ code: 'archive' }));
});

test.each([
  ['./a//b/./c/', 'a/b/c'],
  ['././a', 'a'],
  ['./', ''],
  ['.', ''],
  ['..a/b..', '..a/b..'],
])('canonicalPath makes %j %j', (raw, path) => {
  expect(canonicalPath(raw, 'test')).toBe(path);
});

test('readRange crosses segments and stops at the end', async () => {
  const path = join(scratch(), 'slice');
  writeFileSync(path, '0123456789');
  const segments = [{ bytes: Buffer.from('abc') }, { file: path, offset: 2, size: 5 }, { bytes: Buffer.from('xyz') }];
  const content = { size: 11, key: 'k', segments };
  const whole = 'abc23456xyz';
  for (let offset = 0; offset < 13; offset++)
    for (let length = 0; length < 13; length++)
      expect((await readRange(content, offset, length)).toString()).toBe(whole.slice(offset, offset + length));
  const cut = { size: 9, key: 'k', segments: [{ file: path, offset: 5, size: 9 }] };
  await expect(readRange(cut, 0, 9)).rejects.toMatchObject({ code: 'store' });
});
