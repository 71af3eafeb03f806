import { execFileSync, spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { compareVersions, satisfies } from '../../../src/debian/version.ts';

/** Traps: tildes, letters before other characters, leading zeros, missing revisions, digits beyond 2^53, epochs. */
const versions = [
  '0',
  '0~',
  '0~~',
  '0-0',
  '1',
  '1-0',
  '1-1',
  '01',
  '1.0',
  '1.00',
  '1.0-1',
  '1.0-1~bpo12+1',
  '1.0-1+b1',
  '1.0-1+b10',
  '1.0+dfsg-1',
  '1.0~rc1-1',
  '1.0~rc1~git-1',
  '1.0a',
  '1.0.1',
  '1:0',
  '2:0.1',
  '1.10',
  '1.9',
  '1.0-1ubuntu1',
  '5.2.37-2+b5',
  '257.13-1~deb13u1',
  '123456789012345678901234567890',
  '123456789012345678901234567891',
  '1.0-a-1',

  'z+z',
  'z.z',
];

test('versions are ordered as dpkg orders them', (context) => {
  if (spawnSync('dpkg', ['--version']).status !== 0)
    return context.skip('dpkg is not installed: nothing to compare with');
  const pairs = versions.flatMap((a) => versions.map((b) => [a, b] as const));
  // One shell for all pairs: a process per pair would take seconds.
  const script =
    'while read -r a b; do if dpkg --compare-versions "$a" lt "$b" 2>/dev/null; then echo -1; elif dpkg --compare-versions "$a" eq "$b" 2>/dev/null; then echo 0; else echo 1; fi; done';
  const some = pairs.filter((_, i) => i % 3 === 0);
  const expected = execFileSync('sh', ['-c', script], {
    input: some.map((p) => `${p.join(' ')}\n`).join(''),
    encoding: 'utf8',
  });
  const ours = some.map(([a, b]) => Math.sign(compareVersions(a, b)));
  const wrong = expected
    .trim()
    .split('\n')
    .flatMap((line, i) => (Number(line) === ours[i] ? [] : [`${some[i]?.join(' ? ')}: dpkg ${line}, kina ${ours[i]}`]));
  expect(some.length).toBeGreaterThan(300);
  expect(wrong).toEqual([]);
});

test('the order is a total one: antisymmetric for every pair', () => {
  for (const a of versions)
    for (const b of versions) expect(Math.sign(compareVersions(a, b)) + Math.sign(compareVersions(b, a))).toBe(0);
});

test('relations hold at their edges', () => {
  expect(satisfies('1.0-1', '>=', '1.0-1')).toBe(true);
  expect(satisfies('1.0-1', '>>', '1.0-1')).toBe(false);
  expect(satisfies('1.0~rc1', '<<', '1.0')).toBe(true);
  expect(satisfies('1.0', '=', '1.0-0')).toBe(true);
  expect(satisfies('1.0-1', '<=', '1.0')).toBe(false);
});
