import { expect, test } from 'vitest';
import { bytesContent, type Entry } from '../../../src/tree/entry.ts';
import { directory, file, symlink, Tree } from '../../../src/tree/tree.ts';
import { applyLayer } from '../../../src/tree/whiteouts.ts';

const put = (path: string, text = path): Entry => file(path, bytesContent(text), 'test');

function layered(...layers: Entry[][]): string[] {
  const tree = new Tree();
  for (const layer of layers) applyLayer(tree, layer);
  return tree.sorted().map((e) => e.path);
}

test('a whiteout hides a file, or a folder with all that is in it', () => {
  expect(
    layered(
      [directory('a', 't'), put('a/x'), put('a/y'), directory('b', 't'), put('b/z')],
      [put('a/.wh.x', ''), put('.wh.b', '')],
    ),
  ).toEqual(['a', 'a/y']);
});

test('whiteouts hide only lower layers, wherever they stand in their own', () => {
  expect(
    layered([directory('a', 't'), put('a/old')], [put('a/new'), put('a/.wh..wh..opq', ''), put('a/.wh.new', '')]),
  ).toEqual(['a', 'a/new']);
});

test('an opaque folder keeps itself', () => {
  expect(layered([directory('a', 't'), put('a/x'), put('ab')], [put('a/.wh..wh..opq', '')])).toEqual(['a', 'ab']);
});

test('a file over a folder takes its place, a folder over a link replaces the link', () => {
  expect(layered([directory('a', 't'), put('a/x')], [put('a')])).toEqual(['a']);
  const tree = new Tree();
  applyLayer(tree, [directory('usr', 't'), symlink('l', 'usr', 't')]);
  applyLayer(tree, [directory('l', 't')]);
  expect(tree.get('l')!.type).toBe('directory');
});

test('a whiteout is found through a link of a lower layer', () => {
  const lower = [directory('usr', 't'), directory('usr/bin', 't'), put('usr/bin/sh'), put('usr/bin/ls')];
  expect(layered([...lower, symlink('bin', 'usr/bin', 't')], [put('bin/.wh.sh', '')])).not.toContain('usr/bin/sh');
  expect(layered([...lower, symlink('bin', 'usr/bin', 't')], [put('bin/.wh..wh..opq', '')])).toEqual([
    'bin',
    'usr',
    'usr/bin',
  ]);
});

test('what AUFS left for itself hides nothing, and an opaque root hides all', () => {
  expect(layered([put('a')], [put('.wh..wh.aufs', ''), put('.wh..wh.plnk', '')])).toEqual(['a']);
  expect(layered([put('a'), directory('b', 't')], [put('.wh..wh..opq', ''), put('c')])).toEqual(['c']);
});

test('thousands of whiteouts over a large tree take little time', () => {
  const many = Array.from({ length: 20_000 }, (_, i) => `d${i % 100}/f${i}`);
  const whiteouts = many.filter((_, i) => i % 2).map((path) => put(path.replace('/', '/.wh.'), ''));
  const before = process.cpuUsage();
  expect(
    layered(
      many.map((path) => put(path)),
      whiteouts,
    ),
  ).toHaveLength(10_000);
  // Of the processor, not of the clock: other processes take none of it.
  expect(process.cpuUsage(before).user / 1e6).toBeLessThan(5);
});
