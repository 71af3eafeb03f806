/** `kina outdated` and `kina lock --upgrade` against upstreams that have moved on. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Lock } from '../../../src/build/lock.ts';
import { versionTable } from '../../../src/build/versions.ts';
import { compareLocks } from '../../../src/ops/outdated/compare.ts';
import { newestLock } from '../../../src/ops/outdated/newest.ts';
import { openWorkshop, type Workshop } from '../../support/build.ts';
import { type DebianArchive, startDebianArchive } from '../../support/debian-archive.ts';
import { smallRecipe } from '../../support/kina.ts';
import { startUpstream, type Upstream } from '../../support/upstream.ts';

const latest = (await versionTable()).find((row) => row.kubernetes === '1.34')!.latest;
const beyond = latest.replace(/\d+$/, (patch) => String(Number(patch) + 1));
let upstream: Upstream;
let archive: DebianArchive;
let workshop: Workshop;
beforeAll(async () => {
  upstream = await startUpstream();
  archive = await startDebianArchive();
  workshop = await openWorkshop({ mirrors: [upstream.url], debianMirror: archive.server.url });
});
afterAll(async () => {
  await workshop?.close();
  await upstream?.stop();
  await archive?.server.stop();
});

const small = async (source: string): Promise<Lock> =>
  (await workshop.build({ recipe: smallRecipe, source })).prepared.lock;

test("a lock of an old patch: the newest that upstream's marker names, and nothing newer than that", async () => {
  const lock = await small('v1.34.1');
  upstream.markers.set('release/stable-1.34.txt', beyond);
  const newest = await newestLock(lock, smallRecipe, workshop.tools);
  expect(newest).toMatchObject({ kubernetes: beyond, lock: { kubernetes: beyond } });
  const updates = compareLocks(lock, newest.lock, newest.kubernetes);
  expect(updates[0]).toMatchObject({ kind: 'kubernetes', locked: 'v1.34.1', newest: beyond });
  expect(compareLocks(newest.lock, (await newestLock(newest.lock, smallRecipe, workshop.tools)).lock)).toEqual([]);
});

test("without a marker, or with an old one, the version table's newest", async () => {
  const lock = await small('v1.34.2');
  upstream.markers.set('release/stable-1.34.txt', 'v1.34.3');
  expect((await newestLock(lock, smallRecipe, workshop.tools)).kubernetes).toBe(latest);
  upstream.markers.delete('release/stable-1.34.txt');
  expect((await newestLock(lock, smallRecipe, workshop.tools)).kubernetes).toBe(latest);
});

test('a mirror that lacks the newest patch: it is named, the rest is for the version of the lock', async () => {
  const lock = await small('v1.34.2');
  upstream.markers.set('release/stable-1.34.txt', beyond);
  upstream.intercept = (path, response) => {
    if (!path.includes(`/${beyond}/`)) return false;
    response.writeHead(404).end();
    return true;
  };
  const newest = await newestLock(lock, smallRecipe, workshop.tools);
  upstream.intercept = undefined;
  expect(newest).toMatchObject({ kubernetes: beyond, lock: { kubernetes: 'v1.34.2' } });
  expect(workshop.warnings.join()).toContain(`${beyond} cannot be had from here`);
  expect(compareLocks(lock, newest.lock, newest.kubernetes)).toHaveLength(1);
});

test("an archive's newer package, from an index with a key of its own", async () => {
  await archive.publish({ date: new Date('2026-01-01') });
  await writeFile(join(workshop.tools.store.root, 'archive.asc'), archive.keyring);
  const recipe = join(workshop.tools.store.root, 'debs.yaml');
  await writeFile(
    recipe,
    [
      'name: debs',
      'description: one package',
      'layers:',
      '  - name: base',
      '    steps:',
      '      - debian:',
      '          archives: [{ archive: debian, suite: stable, components: [main], keyring: archive.asc }]',
      '          packages: [tiny]',
    ].join('\n'),
  );
  const { lock } = (await workshop.build({ recipe })).prepared;
  const older = structuredClone(lock);
  const [tiny] = older.platforms['linux/amd64']!['base/debian']!.artifacts!;
  Object.assign(tiny!, { version: '0.9-1', url: tiny!.url.replace('1.0-1', '0.9-1') });
  const now = await newestLock(older, recipe, workshop.tools);
  expect(compareLocks(older, now.lock)).toMatchObject([
    { kind: 'debian', name: 'tiny', locked: '0.9-1', newest: '1.0-1' },
  ]);
  expect(now.lock).toEqual(lock);
});

test('nobody announces newer CI builds or local ones', async () => {
  const lock = await small('v1.34.2');
  const ci = JSON.parse(JSON.stringify(lock).replaceAll('dl.k8s.io/v', 'dl.k8s.io/ci/v')) as Lock;
  await expect(newestLock(ci, smallRecipe, workshop.tools)).rejects.toMatchObject({ code: 'usage' });
});
