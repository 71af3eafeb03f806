import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { archivePath, archivePrefixes, checkArchive, defaultBases, snapshotUrl } from '../../../src/debian/archive.ts';

function root(files: Record<string, string>): string {
  const folder = mkdtempSync(join(tmpdir(), 'kina-test-'));
  mkdirSync(join(folder, 'etc/apt/sources.list.d'), { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, 'etc/apt', name), text);
  return folder;
}
const own = { debian: 'http://ftp.debian.org/debian', 'debian-security': 'http://security.debian.org/debian-security' };

test("without apt: Debian's own servers", async () => {
  expect(await defaultBases('/nonexistent')).toEqual(own);
});

test('one-line sources with options and comments', async () => {
  const list =
    '# deb http://no/debian x main\ndeb [arch=amd64 signed-by=/x] http://m.example/debian/ trixie main # c\ndeb-src http://s.example/debian trixie main\n';
  expect(await defaultBases(root({ 'sources.list': list }))).toEqual({ ...own, debian: 'http://m.example/debian' });
});

test('deb822 sources: disabled ones, other archives and other methods do not count', async () => {
  const sources = `Types: deb
URIs: http://off.example/debian
Suites: x
Enabled: no

Types: deb deb-src
URIs: file:/mnt/debian cdrom:x https://m.example/debian-security https://ppa.example/debian-foo
Suites: x
`;
  expect(await defaultBases(root({ 'sources.list.d/a.sources': sources }))).toEqual({
    ...own,
    'debian-security': 'https://m.example/debian-security',
  });
});

test('addresses: the lock names archives, only here they become URLs', () => {
  expect(archivePrefixes(own)[archivePath('debian', '')]).toBe('http://ftp.debian.org/debian/');
  expect(() => checkArchive('debian', own)).not.toThrow();
  expect(() => checkArchive('ubuntu', own)).toThrow(/ubuntu/);
  expect(snapshotUrl('debian', 'pool/x.deb', new Date('2026-07-11T10:16:37Z'))).toBe(
    'https://snapshot.debian.org/archive/debian/20260711T221637Z/pool/x.deb',
  );
});
