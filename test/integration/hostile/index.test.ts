/** What a hostile or stale Debian mirror can hand out, end to end: from the recipe to the error that a person reads. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { openWorkshop, type Workshop } from '../../support/build.ts';
import { type DebianArchive, type Member, newKey, startDebianArchive } from '../../support/debian-archive.ts';

const day = 24 * 3600 * 1000;
const now = Date.now();
const ago = (days: number) => new Date(now - days * day);
let folder: string;
let archive: DebianArchive;
let workshop: Workshop;
beforeAll(async () => {
  archive = await startDebianArchive();
  folder = await mkdtemp(join(tmpdir(), 'kina-hostile-'));
  await writeFile(join(folder, 'keys.asc'), archive.keyring);
  const spec = 'archive: debian, suite: stable, components: [main], keyring: keys.asc';
  await writeFile(
    join(folder, 'tiny.yaml'),
    [
      'name: tiny',
      'description: one package of one archive',
      'image: { tag: "localhost/tiny:1" }',
      'variables: { frozen: { default: "no" } }',
      'layers:',
      '  - name: base',
      '    steps:',
      `      - debian: { archives: [{ ${spec} }], packages: [tiny] }`,
      '        when: { frozen: "no" }',
      `      - debian: { archives: [{ ${spec}, checkValidUntil: false }], packages: [tiny] }`,
      '        when: { frozen: "yes" }',
    ].join('\n'),
  );
});
afterAll(async () => {
  await archive?.server.stop();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  // These tests are about dates; the project's others may run against a frozen mirror.
  vi.stubEnv('KINA_DEBIAN_CHECK_VALID_UNTIL', undefined);
  workshop = await openWorkshop({ debianMirror: archive.server.url });
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await workshop.close();
});

const build = (frozen = 'no') => workshop.build({ recipe: join(folder, 'tiny.yaml'), set: { frozen } });

test('a replayed old index, signed and all, is refused once a newer one was seen', async () => {
  await archive.publish({ date: ago(40) });
  await build();
  await archive.publish({ date: ago(2) });
  await build();
  // Back to the first: its signature is as good as ever, and it has no date of expiry.
  await archive.publish({ date: ago(40) });
  await expect(build()).rejects.toMatchObject({
    code: 'integrity',
    message: 'InRelease of debian stable is older than one seen before',
    details: [
      expect.stringContaining(ago(40).toISOString().slice(0, 10)),
      expect.stringContaining(ago(2).toISOString().slice(0, 10)),
    ],
    hint: expect.stringContaining('KINA_DEBIAN_CHECK_VALID_UNTIL=false'),
  });
  // On purpose it is allowed, and does not lower the mark for the next one.
  await build('yes');
  await expect(build()).rejects.toMatchObject({ code: 'integrity' });
});

test('without a network a recipe that was edited goes by the newest index that was seen', async () => {
  await archive.publish({ date: ago(2) });
  await build();
  const recipe = join(folder, 'edited.yaml');
  await writeFile(recipe, `# one more line\n${await readFile(join(folder, 'tiny.yaml'), 'utf8')}`);
  const offline = await openWorkshop({ debianMirror: archive.server.url, offline: true });
  await expect(offline.build({ recipe })).rejects.toMatchObject({
    code: 'offline',
    message: expect.stringContaining('stable/InRelease is not in the store'),
  });
  await offline.close();
  const again = await openWorkshop({ beside: workshop, debianMirror: archive.server.url, offline: true });
  const edited = await again.build({ recipe });
  expect(edited.index.digest).toBe((await workshop.build({ recipe })).index.digest);
});

test('mirrors that are some hours apart are not an attack; neither is a new store', async () => {
  await archive.publish({ date: ago(1) });
  await build();
  await archive.publish({ date: ago(1.4) });
  await build();
  const other = await openWorkshop({ debianMirror: archive.server.url });
  await archive.publish({ date: ago(300) });
  await other.build({ recipe: join(folder, 'tiny.yaml') });
  await other.close();
});

test('the date of an index without a trusted signature is not remembered, so that it cannot lock users out', async () => {
  await archive.publish({ date: ago(3) });
  await build();
  await archive.publish({ date: ago(0), key: await newKey() });
  await expect(build()).rejects.toMatchObject({ code: 'integrity', message: expect.stringContaining('unknown keys') });
  await archive.publish({ date: ago(3) });
  await build();
});

test.each([
  ['expired', { date: ago(20), validUntil: ago(10) }, /expired on/],
  ['from the future', { date: new Date(now + 10 * day) }, /from the future/],
  [
    'changed after signing',
    { date: ago(1), forge: (t: string) => t.replace('Codename: tiny', 'Codename: evil') },
    /bad signature/,
  ],
  [
    'without its signature',
    { date: ago(1), forge: (t: string) => t.slice(0, t.indexOf('-----BEGIN PGP SIGNATURE')) },
    /not a signed document/,
  ],
  ['a login page', { date: ago(1), forge: () => '<html>log in</html>' }, /not a signed document/],
])('an index that is %s', async (_name, index, words) => {
  await archive.publish(index);
  await expect(build()).rejects.toMatchObject({ code: 'integrity', message: expect.stringMatching(words) });
  expect(await workshop.tools.store.images()).toEqual([]);
});

test.each<[string, Member[]]>([
  ['..', [{ name: './../../etc/passwd', data: 'x' }]],
  ['an absolute path', [{ name: '/etc/passwd', data: 'x' }]],
  [
    'a symbolic link that leaves',
    [
      { name: './out', type: 'symlink', linkname: '../../etc' },
      { name: './out/passwd', data: 'x' },
    ],
  ],
  ['a hard link out', [{ name: './h', type: 'link', linkname: '../../etc/shadow' }]],
  ['a device', [{ name: './dev/sda', type: 'block-device', devmajor: 8, devminor: 0 }]],
])('a signed package with %s', async (_name, members) => {
  await archive.publish({ date: ago(1) }, members);
  await expect(build()).rejects.toMatchObject({ code: 'archive', message: expect.stringContaining('tiny') });
});
