import { expect, test } from 'vitest';
import { PackageIndex } from '../../../src/debian/packages.ts';
import { type ClosureRequest, resolveClosure, type SuiteIndex } from '../../../src/debian/resolve.ts';
import type { KinaError } from '../../../src/host/errors.ts';

/** `name version` and further fields, a stanza per argument. */
function index(suite: string, packages: string[], priority = 500): SuiteIndex {
  const text = packages
    .map((p) => {
      const [head, ...fields] = p.split('\n');
      const [name, version] = (head as string).split(' ');
      return [
        `Package: ${name}`,
        `Version: ${version}`,
        'Architecture: amd64',
        `Filename: pool/${name}_${version}.deb`,
        'Size: 1',
        `SHA256: ${'0'.repeat(64)}`,
        ...fields,
      ].join('\n');
    })
    .join('\n\n');
  const packagesIndex = new PackageIndex(Buffer.from(`${text}\n`), 'amd64', suite);
  return {
    archive: 'debian',
    suite,
    codename: suite,
    component: 'main',
    priority,
    released: new Date(0),
    packages: packagesIndex,
  };
}

function closure(indexes: SuiteIndex[], packages: string[], more: Partial<ClosureRequest> = {}): string[] {
  const request = { indexes, architecture: 'amd64', packages, essential: false, ...more };
  return resolveClosure(request).map(({ record }) => `${record.name} ${record.version}`);
}

test('an alternative that was asked for by name wins over the one written first', () => {
  const suite = index('s', ['a 1\nDepends: x | y', 'x 1', 'y 1']);
  expect(closure([suite], ['a'])).toEqual(['a 1', 'x 1']);
  expect(closure([suite], ['a', 'y'])).toEqual(['a 1', 'y 1']);
});

test('an alternative that cannot be installed is undone, with all that it had pulled in', () => {
  const suite = index('s', ['a 1\nDepends: x | y', 'x 1\nDepends: z, nowhere', 'z 1', 'y 1']);
  expect(closure([suite], ['a'])).toEqual(['a 1', 'y 1']);
});

test('an alternative that conflicts with the selection is skipped', () => {
  const suite = index('s', ['a 1\nDepends: x | y', 'b 1\nBreaks: x (<< 2)', 'x 1', 'y 1']);
  expect(closure([suite], ['b', 'a'])).toEqual(['a 1', 'b 1', 'y 1']);
});

test('virtual packages: only versioned Provides satisfy a version, and priorities order providers', () => {
  const suite = index('s', [
    'a 1\nDepends: mta',
    'b 1\nDepends: api (>= 2)',
    'exim 1\nProvides: mta\nPriority: optional',
    'postfix 1\nProvides: mta\nPriority: standard',
    'old 1\nProvides: api',
    'new 1\nProvides: api (= 2)',
  ]);
  expect(closure([suite], ['a'])).toEqual(['a 1', 'postfix 1']);
  expect(closure([suite], ['b'])).toEqual(['b 1', 'new 1']);
});

test('":any" needs Multi-Arch: allowed', () => {
  const suite = index('s', ['a 1\nDepends: p:any', 'b 1\nDepends: q:any', 'p 1\nMulti-Arch: allowed', 'q 1']);
  expect(closure([suite], ['a'])).toEqual(['a 1', 'p 1']);
  expect(() => closure([suite], ['b'])).toThrow();
});

test('a package may provide and conflict with the same name', () => {
  const suite = index('s', ['a 1\nProvides: mta\nConflicts: mta', 'b 1\nProvides: mta\nConflicts: mta']);
  expect(closure([suite], ['a'])).toEqual(['a 1']);
  expect(() => closure([suite], ['a', 'b'])).toThrow(/cannot be installed together/);
});

test('cycles end', () => {
  const suite = index('s', ['a 1\nDepends: b', 'b 1\nPre-Depends: c', 'c 1\nDepends: a']);
  expect(closure([suite], ['a'])).toEqual(['a 1', 'b 1', 'c 1']);
});

test('several suites: highest version, unless priority or pin say otherwise; a pinned package brings its libraries along', () => {
  const stable = index('stable', ['a 1\nDepends: lib', 'lib 1', 'c 1\nDepends: lib']);
  const update = index('update', ['a 1+u1\nDepends: lib']);
  const next = index('next', ['a 2\nDepends: lib (>= 2)', 'lib 2'], 100);
  expect(closure([stable, update, next], ['a'])).toEqual(['a 1+u1', 'lib 1']);
  expect(closure([stable, update, next], ['a/next', 'c'])).toEqual(['a 2', 'c 1', 'lib 2']);
  expect(closure([stable, update, next], ['a'], { pins: { a: 'next' } })).toEqual(['a 2', 'lib 2']);
  expect(closure([stable, update, next], ['a=1'])).toEqual(['a 1', 'lib 1']);
});

test('essential packages and their reasons', () => {
  const suite = index('s', ['a 1\nDepends: c', 'b 1\nEssential: yes\nPre-Depends: c', 'c 1']);
  const result = resolveClosure({ indexes: [suite], architecture: 'amd64', packages: ['a'], essential: true });
  expect(result.map(({ record, because }) => `${record.name}: ${because.join(' ')}`)).toEqual([
    'a: requested',
    'b: essential',
    'c: a b',
  ]);
});

test('excluded names count as satisfied and never appear', () => {
  const suite = index('s', ['a 1\nDepends: adduser, b', 'adduser 1\nDepends: passwd', 'passwd 1', 'b 1']);
  expect(closure([suite], ['a'], { exclude: ['adduser'] })).toEqual(['a 1', 'b 1']);
});

test('what is installed already is not selected again', () => {
  const suite = index('s', ['a 1\nDepends: b', 'b 2', 'b2 1']);
  const installed = suite.packages.versions('b');
  expect(closure([suite], ['a'], { installed })).toEqual(['a 1']);
});

test('a failure explains itself down to the cause', () => {
  const suite = index('s', ['a 1\nDepends: b', 'b 1\nDepends: c (>= 2) | nowhere', 'c 1']);
  try {
    closure([suite], ['a']);
    expect.unreachable();
  } catch (error) {
    expect((error as KinaError).details).toEqual([
      'a 1 depends on b',
      '  b 1 depends on c (>= 2) | nowhere',
      '    c (>= 2): only 1 is available',
      '    nowhere: no such package',
    ]);
  }
});

test('of providers that nothing else tells apart, the one that the index mentions last is taken, as apt does', () => {
  const providers = ['x 1\nProvides: v', 'z 1\nProvides: v', 'y 1\nProvides: v'];
  expect(closure([index('s', ['a 1\nDepends: v', ...providers])], ['a'])).toEqual(['a 1', 'y 1']);
  // A relation counts as a mention, words of a description do not.
  const before = 'b 1\nSuggests: c, y (>= 1)\nDescription: with z\n and z';
  expect(closure([index('s', ['a 1\nDepends: v', before, ...providers])], ['a'])).toEqual(['a 1', 'z 1']);
});

test('an unknown name and an unknown version name what there is', () => {
  const suite = index('s', ['a 1', 'x 1\nProvides: v', 'y 1\nProvides: v']);
  const details = (name: string) => {
    try {
      closure([suite], [name]);
    } catch (error) {
      return (error as KinaError).details.join();
    }
    return '';
  };
  expect(details('nope')).toMatch(/nope: no such package in s for amd64/);
  expect(details('a=2')).toMatch(/no version 2; available: 1 \(s\)/);
  expect(details('v')).toMatch(/virtual package; choose one of x, y/);
});
