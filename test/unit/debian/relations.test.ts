import { expect, test } from 'vitest';
import { parseStanza, parseStanzas } from '../../../src/debian/deb822.ts';
import { formatGroup, parseProvides, parseRelations } from '../../../src/debian/relations.ts';

test('alternatives, versions, qualifiers and old spellings', () => {
  const groups = parseRelations('a (>= 1:2.0~rc1), b:any | c (= 1.0) ,d(<2),', 'amd64', 'test');
  expect(groups.map(formatGroup)).toEqual(['a (>= 1:2.0~rc1)', 'b:any | c (= 1.0)', 'd (<= 2)']);
});

test('alternatives for other architectures are left out', () => {
  const groups = parseRelations('a [amd64], b [!amd64], c [linux-any], d [arm64] | e', 'amd64', 'test');
  expect(groups.map(formatGroup)).toEqual(['a', 'c', 'e']);
});

test('a version of something provided counts, anything but "=" does not', () => {
  expect(parseProvides('x, y (= 2)', 'amd64', 'test')).toEqual([{ name: 'x' }, { name: 'y', version: '2' }]);
});

test('nonsense is refused by name', () => {
  expect(() => parseRelations('a (~ 1)', 'amd64', 'Packages of x')).toThrow(/Packages of x.*a \(~ 1\)/);
});

test('stanzas: continuation lines, case, comments, several empty lines, no newline at the end', () => {
  const [first, second, ...rest] = parseStanzas('Package: a\nDescription: x\n more\n .\n\n\n# hi\npackage: b', 'test');
  expect(first?.get('description')).toBe('x\n more\n .');
  expect(second?.get('package')).toBe('b');
  expect(rest).toEqual([]);
});

test('a duplicate field is refused: the second one would hide what was signed for', () => {
  expect(() => parseStanza('A: 1\na: 2', 'x')).toThrow(/duplicate field/);
});
