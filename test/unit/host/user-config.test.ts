import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { KinaError } from '../../../src/host/errors.ts';
import { readUserConfig } from '../../../src/host/user-config.ts';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kina-config-'));
  file = join(folder, 'config.yaml');
});
afterEach(() => rmSync(folder, { recursive: true }));

async function failure(text: string): Promise<KinaError> {
  writeFileSync(file, text);
  return readUserConfig(file).then(
    () => expect.fail('it should have failed'),
    (error) => error as KinaError,
  );
}

test('every key is read', async () => {
  writeFileSync(
    file,
    'mirrors: [https://m.test/up]\nhosts:\n  registry.k8s.io: https://r.test\ndebian: { mirror: "http://d.test/debian", securityMirror: "http://d.test/s" }\n',
  );
  expect(await readUserConfig(file)).toEqual({
    mirrors: ['https://m.test/up'],
    hosts: { 'registry.k8s.io': 'https://r.test' },
    debian: { mirror: 'http://d.test/debian', securityMirror: 'http://d.test/s' },
  });
});

test('no file, an empty one or only comments: no settings', async () => {
  expect(await readUserConfig(join(folder, 'none', 'config.yaml'))).toEqual({});
  for (const text of ['', '# nothing yet\n']) {
    writeFileSync(file, text);
    expect(await readUserConfig(file)).toEqual({});
  }
});

test('all mistakes at once, with their places and a suggestion', async () => {
  const error = await failure(
    'miror: [https://m.test]\nhosts:\n  a.test: nowhere\ndebian:\n  mirrors: http://d.test\n',
  );
  expect(error.code).toBe('usage');
  expect(error.details).toEqual([
    `${file}:1:1: unknown key "miror"; did you mean "mirrors"? (known: mirrors, hosts, debian)`,
    `${file}:3:11: a.test: not an http, https or file URL`,
    `${file}:5:3: unknown key "mirrors"; did you mean "mirror"? (known: mirror, securityMirror, checkValidUntil)`,
  ]);
});

test.each([
  ['mirrors: [a', ':1:'],
  ['mirrors: []\nmirrors: []', ':2:1'],
  ['just text', ':1:1'],
  ['hosts: { "https://a.test": "https://b.test" }', 'not a host name'],
])('%j', async (text, place) => {
  expect((await failure(text)).details.join()).toContain(place);
});

test('a file that cannot be read is not taken for none', async () => {
  await expect(readUserConfig(folder)).rejects.toMatchObject({ code: 'usage' });
});
