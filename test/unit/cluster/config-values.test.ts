/** Merge patches against the examples of their RFC, networks against arithmetic. */
import { BlockList } from 'node:net';
import { describe, expect, test } from 'vitest';
import { overlap, parseAddress, parseCidr } from '../../../src/cluster/config/cidr.ts';
import { type Json, jsonPatch, mergePatch } from '../../../src/cluster/config/merge.ts';

describe('merge patches: RFC 7386, appendix A', () => {
  test.each<[Json, Json, Json]>([
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, null],
    [{ a: 'foo' }, 'bar', 'bar'],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])('%j + %j', (target, patch, expected) => {
    const before = JSON.stringify(target);
    expect(mergePatch(target, patch)).toEqual(expected);
    expect(JSON.stringify(target), 'the target is left alone').toBe(before);
  });

  test('a key called __proto__ is a key', () => {
    const merged = mergePatch({}, JSON.parse('{"__proto__": {"a": 1}}')) as object;
    expect(Object.keys(merged)).toEqual(['__proto__']);
    expect(({} as { a?: number }).a).toBeUndefined();
  });
});

describe('JSON patches', () => {
  test('the whole document can be replaced', () => {
    expect(jsonPatch({ a: 1 }, [{ op: 'replace', path: '', value: { b: 2 } }])).toEqual({ b: 2 });
  });
  test('a patch that fails half way changes nothing, and names its operation', () => {
    const document = { a: [1] };
    const operations = [
      { op: 'add', path: '/a/-', value: 2 },
      { op: 'test', path: '/a/0', value: 5 },
    ] as const;
    expect(() => jsonPatch(document, operations)).toThrow('operation 2 (test "/a/0"): the test fails');
    expect(document).toEqual({ a: [1] });
    expect(() => jsonPatch(document, [{ op: 'remove', path: '/b' }])).toThrow('path not found');
  });
});

describe('networks', () => {
  test.each([
    ['10.0.0.1', 0x0a000001n],
    ['::', 0n],
    ['::1', 1n],
    ['1::', 1n << 112n],
    ['fd00:10:96::ff', (0xfd00_0010_0096n << 80n) | 0xffn],
    ['::ffff:1.2.3.4', 0xffff_0102_0304n],
    ['1:2:3:4:5:6:7:8', 0x0001_0002_0003_0004_0005_0006_0007_0008n],
  ])('%s', (text, value) => {
    expect(parseAddress(text)?.value).toBe(value);
  });

  test.each([
    '10.0.0.0/33',
    '10.0.0/8',
    '010.0.0.0/8',
    '10.0.0.0/08',
    'fd00::/129',
    'fd00::/64/2',
    'fe80::1%eth0/64',
    '/8',
    '',
  ])('%j is invalid', (text) => expect(parseCidr(text)).toBeUndefined());

  test('overlap agrees with the block list of Node for random networks of both families', () => {
    let seed = 7;
    const random = (below: number) => {
      seed = (seed * 48271) % 0x7fffffff;
      return seed % below;
    };
    const network = () =>
      random(2)
        ? `10.${random(4)}.${random(4) * 64}.0/${8 + random(17)}`
        : `fd00:${random(4)}:${random(4)}::/${16 + random(40)}`;
    for (let i = 0; i < 500; i++) {
      const [a, b] = [network(), network()];
      expect(overlap(parseCidr(a)!, parseCidr(b)!), `${a} ${b}`).toBe(holds(a, b) || holds(b, a));
    }
  });
});

/** Whether the first network holds the base address of the second, masked: networks overlap only so. */
function holds(outer: string, inner: string): boolean {
  const family = outer.includes(':') ? 'ipv6' : 'ipv4';
  if (family !== (inner.includes(':') ? 'ipv6' : 'ipv4')) return false;
  const [base, prefix] = outer.split('/') as [string, string];
  const [address, innerPrefix] = inner.split('/') as [string, string];
  const list = new BlockList();
  list.addSubnet(base, Number(prefix), family);
  return Number(prefix) <= Number(innerPrefix) && list.check(address, family);
}
