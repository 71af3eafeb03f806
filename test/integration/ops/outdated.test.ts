/** `kina outdated` and `kina lock --upgrade` against upstreams that have moved on. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Lock } from '../../../src/build/lock.ts';
import { readLock, writeLock } from '../../../src/build/lock-file.ts';
import { resolveRecipe } from '../../../src/build/resolve.ts';
import { versionTable } from '../../../src/build/versions.ts';
import { parsePlatform } from '../../../src/oci/platform.ts';
import { compareLocks } from '../../../src/ops/outdated/compare.ts';
import { newestLock } from '../../../src/ops/outdated/newest.ts';
import { upgradeOne } from '../../../src/ops/outdated/upgrade.ts';
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
  workshop = await openWorkshop({ mirror: [upstream.url], debianMirror: archive.server.url });
});
afterAll(async () => {
  await workshop?.close();
  await upstream?.stop();
  await archive?.server.stop();
});

const small = async (source: string): Promise<Lock> =>
  (await workshop.build({ recipe: smallRecipe, source })).resolved.lock;

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
  expect(workshop.warnings.join()).toContain(`${beyond} is not available`);
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
  const { lock } = (await workshop.build({ recipe })).resolved;
  const older = structuredClone(lock);
  const [tiny] = older.platforms['linux/amd64']!['base/debian']!.artifacts!;
  Object.assign(tiny!, { version: '0.9-1', url: tiny!.url.replace('1.0-1', '0.9-1') });
  const now = await newestLock(older, recipe, workshop.tools);
  expect(compareLocks(older, now.lock)).toMatchObject([
    { kind: 'debian', name: 'tiny', locked: '0.9-1', newest: '1.0-1' },
  ]);
  expect(now.lock).toEqual(lock);
});

test('CI builds and local builds have no update channel', async () => {
  const lock = await small('v1.34.2');
  expect(lock.source).toBe('release');
  for (const source of ['ci', 'directory', undefined] as const)
    await expect(newestLock({ ...lock, source }, smallRecipe, workshop.tools)).rejects.toMatchObject({ code: 'usage' });
});

/** A lock as a file, whose artifacts `change` may make older ones. */
async function fileOf(lock: Lock, change: (lock: Lock) => void = () => {}): Promise<string> {
  const changed = structuredClone(lock);
  change(changed);
  const path = join(workshop.tools.store.root, 'one.lock');
  await writeLock(path, changed);
  return path;
}
/** An artifact that no server has: it stays only when no newer one is requested. */
const outdate = (artifact: { digest: string } | undefined): void => {
  Object.assign(artifact!, { digest: `sha256:${'0'.repeat(64)}` });
};
const differing = (a: Lock, b: Lock): string[] =>
  Object.keys(b.platforms['linux/amd64']!).filter(
    (id) => JSON.stringify(a.platforms['linux/amd64']![id]) !== JSON.stringify(b.platforms['linux/amd64']![id]),
  );

test('--upgrade kubernetes: its binaries and images, while runc stays the one that is pinned', async () => {
  upstream.markers.set('release/stable-1.34.txt', beyond);
  const path = await fileOf(await small('v1.34.2'), (lock) =>
    outdate(lock.platforms['linux/amd64']!['runtime/runc']!.artifacts![0]),
  );
  const old = await readLock(path);
  const now = await upgradeOne(path, smallRecipe, 'kubernetes', workshop.tools);
  upstream.markers.delete('release/stable-1.34.txt');
  expect(now.kubernetes).toBe(beyond);
  expect(differing(old, now)).toEqual(['kubernetes/kubernetes', 'images/images']);
  // What came out is a lock that the recipe agrees with.
  await writeLock(path, now);
  const rebuilt = await resolveRecipe(
    {
      recipe: smallRecipe,
      source: undefined,
      sourceType: undefined,
      set: {},
      lock: path,
      strict: false,
      platforms: [parsePlatform('linux/amd64')],
    },
    workshop.tools,
  );
  expect(rebuilt.lock).toEqual(now);
});

test.each([
  ['runc', ['runtime/runc']],
  ['runtime/containerd', ['runtime/containerd']],
  ['runtime', ['runtime/containerd', 'runtime/runc']],
])('--upgrade %s: pinned again, and nothing else', async (name, changed) => {
  const path = await fileOf(await small('v1.34.2'), (lock) => {
    for (const step of Object.values(lock.platforms['linux/amd64']!)) outdate(step.artifacts?.[0] ?? { digest: '' });
  });
  const now = await upgradeOne(path, smallRecipe, name, workshop.tools);
  expect(now.kubernetes).toBe('v1.34.2');
  expect(differing(await readLock(path), now).filter((id) => id !== 'runtime/crictl')).toEqual(changed);
});

test('--upgrade of a Debian package takes it, and leaves the rest to the lock', async () => {
  const recipe = join(workshop.tools.store.root, 'debs.yaml');
  const { lock } = (await workshop.build({ recipe })).resolved;
  const path = await fileOf(lock, (old) => {
    const [tiny] = old.platforms['linux/amd64']!['base/debian']!.artifacts!;
    Object.assign(tiny!, { version: '0.9-1', url: tiny!.url.replace('1.0-1', '0.9-1') });
  });
  expect(await upgradeOne(path, recipe, 'tiny', workshop.tools)).toEqual(lock);
});

test('--upgrade of what is not in the lock, or of a lock that the recipe has left behind', async () => {
  const path = await fileOf(await small('v1.34.2'));
  await expect(upgradeOne(path, smallRecipe, 'runk', workshop.tools)).rejects.toMatchObject({
    code: 'usage',
    message: expect.stringContaining('did you mean "runc"'),
  });
  await fileOf(await small('v1.34.2'), (lock) =>
    Object.assign(lock.platforms['linux/amd64']!['base/file']!, { step: `sha256:${'0'.repeat(64)}` }),
  );
  await expect(upgradeOne(path, smallRecipe, 'runc', workshop.tools)).rejects.toMatchObject({
    code: 'lock',
    details: ['linux/amd64 base/file'],
  });
  await fileOf(await small('v1.34.2'), (lock) =>
    Object.assign(lock.settings!, { 'linux/amd64': `sha256:${'0'.repeat(64)}` }),
  );
  await expect(upgradeOne(path, smallRecipe, 'runc', workshop.tools)).rejects.toMatchObject({
    code: 'lock',
    details: ['linux/amd64: description, image settings or order of steps'],
  });
});
