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
