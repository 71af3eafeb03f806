import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findChecksum, parseIntegrity } from '../../../src/artifacts/checksum-file.ts';
import { missing } from '../../support/requirements.ts';

const a = 'a'.repeat(64);
const b = 'b'.repeat(64);
const find = (text: string, file = 'runc.amd64') => findChecksum(text, file, 'SUMS');

describe('shapes', () => {
  test.each([
    ['the bare digest, as dl.k8s.io has it: no newline', a],
    ['the bare digest with one', `${a}\n`],
    ['upper case', a.toUpperCase()],
    ['a list', `${b}  runc.arm64\n${a}  runc.amd64\n`],
    ['binary mode', `${b} *runc.arm64\n${a} *runc.amd64\n`],
    ['paths', `${b}  ./out/runc.arm64\n${a}  ./out/runc.amd64\n`],
    ['CRLF', `${b}  runc.arm64\r\n${a}  runc.amd64\r\n`],
    ['BSD', `SHA256 (runc.arm64) = ${b}\nSHA256 (runc.amd64) = ${a}\n`],
    ['OpenSSL', `SHA2-256(runc.amd64)= ${a}\n`],
    ['standard input', `${a}  -\n`],
    ['the exact name before another folder of the same name', `${b}  old/runc.amd64\n${a}  runc.amd64\n`],
    ['the same line twice', `${a}  runc.amd64\n${a}  runc.amd64\n`],
    ['a stronger digest besides', `${'c'.repeat(128)}  runc.amd64\n${a}  runc.amd64\n`],
    ['a weak digest besides', `${'d'.repeat(40)}  runc.amd64\n${a}  runc.amd64\n`],
    [
      'clear-signed, as runc publishes it; the signature is not read as a list',
      `-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n${a} *runc.amd64\n${b} *runc.arm64\n-----BEGIN PGP SIGNATURE-----\n\n${b}  runc.amd64\n-----END PGP SIGNATURE-----\n`,
    ],
  ])('%s', (_, text) => {
    expect(find(text)).toEqual({ algorithm: 'sha256', hex: a });
  });

  test('what an npm registry says about a version, whatever mirror the address is of', () => {
    const integrity = `sha1-${Buffer.alloc(20).toString('base64')} sha512-${Buffer.alloc(64, 0xcc).toString('base64')}`;
    const about = (dist: object) => JSON.stringify({ name: 'n', dist });
    const tarball = 'https://mirror.example.org/npm/n/-/n-1.0.0.tgz';
    expect(find(about({ tarball, integrity }), 'n-1.0.0.tgz')).toEqual({ algorithm: 'sha512', hex: 'c'.repeat(128) });
    expect(() => find(about({ tarball, integrity }), 'n-1.0.1.tgz')).toThrow('does not list n-1.0.1.tgz');
    for (const text of [about({ tarball }), '{"error":"not found"}', '{'])
      expect(() => find(text, 'n-1.0.0.tgz')).toThrow('does not list');
  });

  test('integrity strings: the strongest; digests with the wrong length for their algorithm are ignored', () => {
    const of = (name: string, size: number, fill: number) => `${name}-${Buffer.alloc(size, fill).toString('base64')}`;
    expect(parseIntegrity(`${of('sha256', 32, 0xaa)} ${of('sha512', 64, 0xbb)}?x`)?.hex).toBe('b'.repeat(128));
    expect(parseIntegrity(of('sha256', 32, 0xaa))).toEqual({ algorithm: 'sha256', hex: a });
    for (const weak of ['', of('sha1', 20, 1), of('sha512', 32, 1), of('md5', 16, 1)])
      expect(parseIntegrity(weak)).toBeUndefined();
  });

  test('SHA-512 when there is nothing else', () => {
    expect(find(`${'c'.repeat(128)}\n`)).toEqual({ algorithm: 'sha512', hex: 'c'.repeat(128) });
  });
});

describe('refusals', () => {
  test('a list without the file says what it lists', () => {
    expect(() => find(`${a}  runc.s390x\n`)).toThrow(
      expect.objectContaining({
        code: 'integrity',
        details: ['it lists runc.s390x'],
        message: 'SUMS does not list runc.amd64',
      }),
    );
  });
  test('a suffix of the name is another file', () => {
    expect(() => find(`${a}  not-runc.amd64\n`)).toThrow('does not list');
  });
  test('two different answers are refused', () => {
    expect(() => find(`${a}  x/runc.amd64\n${b}  y/runc.amd64\n`)).toThrow('different sha256 digests');
  });
  test.each(['md5', 'sha1'])('%s alone is too weak, and named', (name) => {
    expect(() => find(`${'d'.repeat(name === 'md5' ? 32 : 40)}  runc.amd64\n`)).toThrow(`only ${name} digests`);
  });
  test('a login page is not a checksum file', () => {
    expect(() => find('<html><body>Please log in</body></html>')).toThrow('does not list');
  });
});

describe('as other tools write them', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'kina-sums-'));
    writeFileSync(join(folder, 'runc.amd64'), 'content');
    writeFileSync(join(folder, 'other'), 'other');
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const tools: [string, string[]][] = [
    ['sha256sum', ['other', 'runc.amd64']],
    ['sha256sum', ['-b', 'other', './runc.amd64']],
    ['sha256sum', ['--tag', 'other', 'runc.amd64']],
    ['shasum', ['-a', '256', 'other', 'runc.amd64']],
    ['openssl', ['dgst', '-sha256', 'other', 'runc.amd64']],
    ['openssl', ['dgst', '-r', '-sha256', 'other', 'runc.amd64']],
  ];
  test.for(tools)('%s %j', ([tool, args], context) => {
    const reason = missing([tool]);
    if (reason) return context.skip(reason);
    const text = execFileSync(tool, args, { cwd: folder, encoding: 'utf8' });
    expect(find(text).hex).toBe('ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73');
  });
});
