import { expect, test } from 'vitest';
import { defaultPruneRules, pruneConfiguration, pruner } from '../../../src/debian/prune.ts';

test('copyright stays, the rest of the documentation goes, at any depth', () => {
  const keep = pruner(defaultPruneRules);
  expect(keep('usr/share/doc/bash/copyright')).toBe(true);
  expect(keep('usr/share/doc/bash')).toBe(false);
  expect(keep('usr/share/doc/bash/examples/a/b.gz')).toBe(false);
  expect(keep('usr/share/man/man1/ls.1.gz')).toBe(false);
  expect(keep('usr/share/mandriva')).toBe(true);
  expect(keep('usr/bin/man')).toBe(true);
});

test('the last matching rule decides, as for dpkg', () => {
  const keep = pruner([
    { action: 'include', pattern: '/a/b*' },
    { action: 'exclude', pattern: '/a/*' },
  ]);
  expect(keep('a/b')).toBe(false);
});

test('characters that mean something to regular expressions mean themselves', () => {
  const keep = pruner([{ action: 'exclude', pattern: '/usr/lib/g++.(x)/?' }]);
  expect(keep('usr/lib/g++.(x)/a')).toBe(false);
  expect(keep('usr/lib/ggg.(x)/a')).toBe(true);
});

test('the rules are written as dpkg reads them', () => {
  expect(pruneConfiguration([{ action: 'exclude', pattern: '/x/*' }])).toBe('path-exclude /x/*\n');
});
