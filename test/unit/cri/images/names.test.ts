/** What callers may say for an image: every spelling has to lead to the same one. */
import { describe, expect, test } from 'vitest';
import { defaultUser, digestName, findId } from '../../../../src/cri/images/names.ts';
import type { Digest } from '../../../../src/oci/descriptor.ts';
import { canonicalReference } from '../../../../src/oci/reference.ts';

const digest = (character: string): Digest => `sha256:${character.repeat(64)}`;

test.each([
  ['busybox', 'docker.io/library/busybox:latest'],
  ['index.docker.io/library/busybox:1', 'docker.io/library/busybox:1'],
  ['registry.k8s.io/pause:3.9', 'registry.k8s.io/pause:3.9'],
  ['localhost:5000/a', 'localhost:5000/a:latest'],
  [`a/b@${digest('1')}`, `docker.io/a/b@${digest('1')}`],
  // a tag beside a digest proves nothing: it must not be listed as one
  [`a/b:v1@${digest('1')}`, `docker.io/a/b@${digest('1')}`],
])('%s in full', (short, full) => expect(canonicalReference(short)).toBe(full));

test('the digest goes with the name, not with the tag', () =>
  expect(digestName('a/b:v1', digest('2'))).toBe(`docker.io/a/b@${digest('2')}`));

describe('which image is meant', () => {
  const ids = [digest('a'), `sha256:abcd${'0'.repeat(60)}`, digest('b')] as Digest[];
  const names = new Map([
    ['docker.io/library/busybox:latest', digest('a')],
    // a name that looks like the beginning of an id
    ['docker.io/library/abcd:latest', digest('b')],
  ]);
  test.each([
    [digest('a'), digest('a')],
    ['a'.repeat(64), digest('a')],
    ['aaaaaaaaaaaa', digest('a')],
    ['sha256:aaaaaaaaaaaa', digest('a')],
    ['busybox', digest('a')],
    ['docker.io/busybox:latest', digest('a')],
    ['abcd', digest('b')],
    ['abcd0', ids[1]],
    ['bbb', undefined], // shorter than people write
    [digest('c'), undefined],
    ['busybox:1', undefined],
    ['NOT A NAME', undefined],
    ['', undefined],
  ])('%s', (reference, id) => expect(findId(reference, names, ids)).toBe(id));

  test('a prefix of two ids is ambiguous', () => {
    const two = [`sha256:1111a${'0'.repeat(59)}`, `sha256:1111b${'0'.repeat(59)}`] as Digest[];
    expect(() => findId('1111', new Map(), two)).toThrow(/several images begins with 1111/);
  });
});

test.each([
  [undefined, {}],
  ['', {}],
  ['1002', { uid: 1002 }],
  ['0', { uid: 0 }],
  ['www-data', { username: 'www-data' }],
  ['1003:1004', { uid: 1003 }],
  ['www-data:1004', { username: 'www-data' }],
  [':1004', {}],
])('the user %j: never both, never a group', (user, expected) => expect(defaultUser(user)).toEqual(expected));
