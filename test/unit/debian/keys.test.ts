import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readKeyring } from '../../../src/debian/release.ts';

const keyring = 'recipes/keys/debian-archive-keyring.pgp';

test('the documented fingerprints are exactly those of the shipped keys', async () => {
  const shipped = (await readKeyring(keyring)).map((key) => key.getFingerprint().toUpperCase()).sort();
  const documented = [...readFileSync('docs/debian-keys.md', 'utf8').matchAll(/`([0-9A-F ]{40,})`/g)].map((m) =>
    (m[1] as string).replaceAll(' ', ''),
  );
  expect(documented.sort()).toEqual(shipped);
});

test('no secret key material is shipped', async () => {
  expect((await readKeyring(keyring)).every((key) => !key.isPrivate())).toBe(true);
});

test('gpg reads the same keys', async (context) => {
  const home = mkdtempSync(join(tmpdir(), 'kina-gpg-'));
  const gpg = spawnSync('gpg', ['--homedir', home, '--show-keys', '--with-colons', keyring], { encoding: 'utf8' });
  if (gpg.error || gpg.status !== 0) return context.skip(`gpg is not usable here: ${gpg.error?.message ?? gpg.stderr}`);
  const primary = [...gpg.stdout.matchAll(/^pub:.*\n(?:^(?!fpr).*\n)*^fpr:+([0-9A-F]{40}):/gm)].map((m) => m[1]);
  const ours = (await readKeyring(keyring)).map((key) => key.getFingerprint().toUpperCase());
  expect(primary.sort()).toEqual(ours.sort());
});
