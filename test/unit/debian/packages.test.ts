import { expect, test } from 'vitest';
import { PackageIndex } from '../../../src/debian/packages.ts';

const stanza = (name: string, version: string, ...more: string[]): string =>
  [
    `Package: ${name}`,
    `Version: ${version}`,
    'Architecture: amd64',
    ...more,
    `Filename: pool/${name}_${version}.deb`,
    'Size: 1',
    `SHA256: ${'0'.repeat(64)}`,
    '',
  ].join('\n');

const indexOf = (...stanzas: string[]): PackageIndex =>
  new PackageIndex(Buffer.from(stanzas.join('\n')), 'amd64', 'the test');

test('names that share a hash are told apart', () => {
  // A known pair of 32 bit FNV-1a.
  const index = indexOf(
    stanza('costarring', '1', 'Provides: altarage'),
    stanza('liquid', '2', 'Provides: zinke'),
    stanza('costarring', '3'),
  );
  expect(index.versions('costarring').map((r) => r.version)).toEqual(['1', '3']);
  expect(index.versions('liquid').map((r) => r.version)).toEqual(['2']);
  expect(index.providers('altarage')).toEqual(['costarring']);
  expect(index.providers('zinke')).toEqual(['liquid']);
  expect(index.versions('solid')).toEqual([]);
  expect(index.providers('solid')).toEqual([]);
});

test('every spelling of what is provided is found', () => {
  const index = indexOf(
    stanza('one', '1', 'Provides: a (= 1),b:any,  c(= 2)'),
    stanza('two', '1', 'Provides:', ' a,', '\tlib++-1.0 (= 3)'),
    stanza('one', '2', 'Provides: a', 'Essential: yes'),
  );
  expect(index.providers('a')).toEqual(['one', 'two']);
  for (const name of ['b', 'c']) expect(index.providers(name)).toEqual(['one']);
  expect(index.providers('lib++-1.0')).toEqual(['two']);
  expect(index.providers('any')).toEqual([]);
  expect(index.essential).toEqual(['one']);
});

test('a stanza may begin with another field, and the last one may end without a line', () => {
  const index = indexOf('\n', stanza('first', '1').replace(/^(.*)\n(.*)\n/, '$2\n$1\n'), stanza('last', '1').trimEnd());
  expect(index.versions('first')[0]?.version).toBe('1');
  expect(index.versions('last')[0]?.sha256).toBe('0'.repeat(64));
  expect(() => indexOf('Version: 1\n')).toThrow(/without a Package field/);
});
