/** `kina verify`, `kina outdated` and `kina lock --upgrade` as programs: output, exit codes, and refused arguments. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Bench, digestIn, openBench, smallRecipe } from '../../support/kina.ts';

let bench: Bench;
const small = 'localhost/kina/small:v1.34.2';
let digest: string;
const file = () => join(bench.folder, 'small.lock');
const withMirror = (args: readonly string[]) => bench.kina([...args, '--mirror', bench.upstream.url]);
beforeAll(async () => {
  bench = await openBench();
  digest = digestIn(await bench.build());
});
afterAll(() => bench?.close());

test('an image that was built here verifies, is unsigned, and can be rebuilt', async () => {
  const result = await withMirror(['verify', small, '--rebuild', '--recipe', smallRecipe]);
  expect(result.code, result.stderr).toBe(0);
  const lines = result.stdout.trimEnd().split('\n');
  expect(lines[0]).toBe(`${small}@${digest}`);
  expect(lines.slice(1).map((line) => line.replace(/: \d+ blobs.*/, ''))).toEqual([
    'digests     verified',
    'provenance  none',
    'lock        matches: recorded in the store',
    'signature   none',
    'rebuild     the same digest',
  ]);
  const json = JSON.parse((await bench.kina(['verify', small, '--json'])).stdout);
  expect(json).toMatchObject({ digest, verified: true, signature: 'none', damage: [], problems: [] });
});

test('a different SOURCE_DATE_EPOCH, compression or build time does not matter to a rebuild', async () => {
  const env = { SOURCE_DATE_EPOCH: '1700000000' };
  const other = digestIn(await bench.build(['--tag', 'localhost/other:v1', '--compression', 'gzip:9'], { env }));
  expect(other).not.toBe(digest);
  const result = await withMirror(['verify', 'localhost/other:v1', '--rebuild', '--recipe', smallRecipe]);
  expect(result.code, result.stderr).toBe(0);
  expect(result.stdout).toMatch(/rebuild {5}the same (digest|content, compressed differently)/);
});

test('a missing required signature and damage are failures', async () => {
  const unsigned = await bench.kina(['verify', small, '--require-signature']);
  expect(unsigned).toMatchObject({ code: 1, stdout: '' });
  expect(unsigned.stderr).toContain('is not signed');
  const json = await bench.kina(['verify', small, '--require-signature', '--json']);
  expect([json.code, JSON.parse(json.stdout).verified]).toEqual([1, false]);
  const index = join(bench.folder, 'store/blobs/sha256', digest.slice(7));
  const bytes = await readFile(index);
  await writeFile(index, bytes.toString().replace('sha256', 'sha265'));
  const damaged = await bench.kina(['verify', small]);
  await writeFile(index, bytes);
  expect(damaged.code).toBe(1);
  expect(damaged.stderr).toContain('index');
});

test('an outdated lock is upgraded to the newest patch', async () => {
  const lock = ['lock', 'v1.34.1', '--recipe', smallRecipe, '--platform', 'linux/amd64', '--output', file()];
  expect((await withMirror(lock)).code).toBe(0);
  bench.upstream.markers.set('release/stable-1.34.txt', 'v1.34.99');
  const outdated = ['outdated', '--lock', file(), '--recipe', smallRecipe];
  const old = await withMirror(outdated);
  expect(old.code).toBe(1);
  expect(old.stdout).toMatch(/^kubernetes\s+kubernetes\s+v1\.34\.1\s+v1\.34\.99\s+linux\/amd64\s+patch release/m);
  expect(JSON.parse((await withMirror([...outdated, '--json'])).stdout)).toMatchObject({ outdated: true });
  const upgrade = ['lock', '--upgrade', '--recipe', smallRecipe, '--output', file()];
  const upgraded = await withMirror(upgrade);
  expect(upgraded.stdout).toMatch(/^\S+small\.lock sha256:[0-9a-f]{64}\n$/);
  expect(upgraded.stderr).toContain('v1.34.99');
  expect(await readFile(file(), 'utf8')).toContain('kubernetes: v1.34.99');
  expect(await withMirror(outdated)).toMatchObject({ code: 0, stdout: `${file()} is up to date\n` });
  const again = await readFile(file(), 'utf8');
  await withMirror(upgrade);
  expect(await readFile(file(), 'utf8')).toBe(again);
});

test('contradictory arguments are refused before any request', async () => {
  const asked = bench.upstream.requests.length;
  for (const args of [
    ['lock', 'v1.34.2', '--upgrade'],
    ['lock', '--upgrade', '--set', 'motd=x'],
    ['verify', small, '--recipe', smallRecipe],
    ['outdated', '--lock', join(bench.folder, 'none.lock')],
    ['ci', 'matrix', '--versions', '1.34,'],
  ])
    expect(await bench.kina(args), args.join(' ')).toMatchObject({ code: 2, stdout: '' });
  expect(bench.upstream.requests).toHaveLength(asked);
});
