import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as openpgp from 'openpgp';
import { beforeAll, expect, test } from 'vitest';
import type { ArchiveSpec } from '../../../src/debian/archive.ts';
import { verifyRelease } from '../../../src/debian/release.ts';

const day = 24 * 3600 * 1000;
const signed = new Date('2026-01-10T00:00:00Z');
let spec: ArchiveSpec;
let key: openpgp.PrivateKey;
let stranger: openpgp.PrivateKey;
let shortLived: openpgp.PrivateKey;

beforeAll(async () => {
  const make = async (name: string, life = 0) =>
    (
      await openpgp.generateKey({
        userIDs: [{ name }],
        format: 'object',
        date: new Date('2026-01-01'),
        keyExpirationTime: life,
      })
    ).privateKey;
  key = await make('archive');
  stranger = await make('stranger');
  shortLived = await make('short', 20 * 24 * 3600);
  const keyring = join(mkdtempSync(join(tmpdir(), 'kina-test-')), 'keys.pgp');
  writeFileSync(keyring, Buffer.concat([key.toPublic().write(), shortLived.toPublic().write()]));
  spec = { archive: 'debian', suite: 'stable', components: ['main'], keyring };
});

const text = `Suite: stable
Codename: trixie
Date: Sat, 10 Jan 2026 00:00:00 UTC
Valid-Until: Sat, 17 Jan 2026 00:00:00 UTC
Acquire-By-Hash: yes
Architectures: amd64
Components: main
SHA256:
 ${'a'.repeat(64)} 12 main/binary-amd64/Packages
`;

async function inRelease(keys: openpgp.PrivateKey[], body = text): Promise<Buffer> {
  const message = await openpgp.createCleartextMessage({ text: body });
  return Buffer.from(await openpgp.sign({ message, signingKeys: keys, date: signed }));
}
const soon = new Date(signed.getTime() + day);

test('a signed index is read', async () => {
  const release = await verifyRelease(await inRelease([key]), spec, soon);
  expect(release.signedBy).toBe(key.getFingerprint().toUpperCase());
  expect(release.byHash).toBe(true);
  expect(release.date).toEqual(signed);
  expect([...release.files]).toEqual([['main/binary-amd64/Packages', { size: 12, sha256: 'a'.repeat(64) }]]);
});

test('one known signature is enough, as archives sign with the keys of two releases', async () => {
  await expect(verifyRelease(await inRelease([stranger, key]), spec, soon)).resolves.toMatchObject({ suite: 'stable' });
});

test('unknown keys are named', async () => {
  const id = stranger.getKeyID().toHex().toUpperCase();
  await expect(verifyRelease(await inRelease([stranger]), spec, soon)).rejects.toThrow(id);
});

test('a changed document is refused although another signature could not be checked', async () => {
  const changed = (await inRelease([stranger, key])).toString().replace(' 12 main', ' 13 main');
  await expect(verifyRelease(Buffer.from(changed), spec, soon)).rejects.toThrow(/bad signature/);
});

test('text outside the signed part is not read', async () => {
  const document = Buffer.concat([await inRelease([key]), Buffer.from('\nSuite: evil\n')]);
  const release = await verifyRelease(document, spec, soon).catch((error: Error) => error);
  if (!(release instanceof Error)) expect(release.suite).toBe('stable');
});

test('a key that expired after signing still counts; the index itself has its own date', async () => {
  const later = new Date('2026-03-01');
  await expect(
    verifyRelease(await inRelease([shortLived]), { ...spec, checkValidUntil: false }, later),
  ).resolves.toMatchObject({ suite: 'stable' });
});

test('an expired index is refused with a way out', async () => {
  const late = new Date('2026-01-18');
  await expect(verifyRelease(await inRelease([key]), spec, late)).rejects.toMatchObject({
    message: expect.stringMatching(/expired/),
    hint: expect.stringMatching(/KINA_DEBIAN_CHECK_VALID_UNTIL=false/),
  });
  await expect(verifyRelease(await inRelease([key]), { ...spec, checkValidUntil: false }, late)).resolves.toBeDefined();
});

test('a clock some hours behind is tolerated, days are not', async () => {
  await expect(
    verifyRelease(await inRelease([key]), spec, new Date(signed.getTime() - day / 2)),
  ).resolves.toBeDefined();
  await expect(verifyRelease(await inRelease([key]), spec, new Date(signed.getTime() - 3 * day))).rejects.toThrow();
});

test('the index of another suite is refused', async () => {
  await expect(verifyRelease(await inRelease([key]), { ...spec, suite: 'sid' }, soon)).rejects.toThrow(/got stable/);
  await expect(verifyRelease(await inRelease([key]), { ...spec, suite: 'trixie' }, soon)).resolves.toBeDefined();
});

test('a login page is not an index', async () => {
  await expect(verifyRelease(Buffer.from('<html>'), spec, soon)).rejects.toThrow(/not a signed document/);
});

test('a remembered verdict is about these bytes under this keyring, and does not outlive the index', async () => {
  const entries = new Map<string, unknown>();
  const cache = {
    get: async (k: string) => entries.get(k),
    put: async (k: string, value: unknown) => void entries.set(k, value),
  };
  const document = await inRelease([key]);
  const first = await verifyRelease(document, spec, soon, cache);
  expect(await verifyRelease(document, spec, soon, cache)).toEqual(first);
  expect(entries.size).toBe(1);

  const changed = Buffer.from(document.toString().replace(' 12 main', ' 13 main'));
  await expect(verifyRelease(changed, spec, soon, cache)).rejects.toThrow(/bad signature/);
  const other = join(mkdtempSync(join(tmpdir(), 'kina-test-')), 'keys.pgp');
  writeFileSync(other, Buffer.from(stranger.toPublic().write()));
  await expect(verifyRelease(document, { ...spec, keyring: other }, soon, cache)).rejects.toThrow(/unknown keys/);
  await expect(verifyRelease(document, spec, new Date('2026-01-18'), cache)).rejects.toThrow(/expired/);
});
