import { describe, expect, test } from 'vitest';
import { globMatcher } from '../../../src/layers/glob.ts';
import { upstreamVersion } from '../../../src/layers/kinds/debian.ts';
import { expandDeep, expandTemplate } from '../../../src/layers/template.ts';

describe('templates', () => {
  test('variables, and the way to write a literal ${', () => {
    expect(expandTemplate('a-${x}-$${x}-$x', { x: '1' }, 'here')).toBe('a-1-${x}-$x');
  });
  test('a value that looks like a variable is not expanded again', () => {
    expect(expandTemplate('${x}', { x: '${y}', y: '2' }, 'here')).toBe('${y}');
  });
  test('an unknown name is an error with a suggestion', () => {
    expect(() => expandTemplate('${containrd}', { containerd: '1' }, 'recipe.yaml:3')).toThrow(
      'recipe.yaml:3: unknown variable ${containrd}; did you mean "containerd"?',
    );
  });
  test('keys of mappings are expanded too: paths stand there', () => {
    expect(expandDeep({ links: { 'opt/${a}': ['${a}', 1, true] } }, { a: 'x' }, 'here')).toEqual({
      links: { 'opt/x': ['x', 1, true] },
    });
  });
});

describe('globs', () => {
  test.each([
    ['bin/*', 'bin/ctr', true],
    ['bin/*', 'bin/a/b', false],
    ['bin/**', 'bin/a/b', true],
    ['**/ctr', 'a/b/ctr', true],
    ['**/ctr', 'ctr', true],
    ['./bin/ctr', 'bin/ctr', true],
    ['ctr', 'bin/ctr', false],
    ['c?r', 'ctr', true],
    ['a.b', 'axb', false],
  ])('%s against %s', (glob, path, expected) => {
    expect(globMatcher([glob])(path)).toBe(expected);
  });
});

describe("a package's upstream version", () => {
  test.each([
    ['1.6.20~ds1-1+deb12u3', '1.6.20'],
    ['1.7.24~ds1-6+b4', '1.7.24'],
    ['1.20.5+really1.20.2-1.1+deb12u1', '1.20.2'],
    ['1:1.8.9-2', '1.8.9'],
    ['1.1.1+ds1-3+b5', '1.1.1'],
    ['2.1.4-1', '2.1.4'],
  ])('%s', (version, expected) => {
    expect(upstreamVersion(version)).toBe(expected);
  });
});
