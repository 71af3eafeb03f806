/** What steps brought, written down beside a layer's tar and read again: the same trees, or nothing. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { InstalledPackage } from '../../../src/debian/deb.ts';
import { digestOf, sha256 } from '../../../src/host/json.ts';
import { describeOutputs, maxOutputBytes, restoreOutputs, type StepOutputs } from '../../../src/layers/step-outputs.ts';
import { bytesContent, type Content, readAll } from '../../../src/tree/entry.ts';
import { writeTar } from '../../../src/tree/tar-write.ts';
import { directory, file, symlink, Tree } from '../../../src/tree/tree.ts';
import { Unpacker } from '../../../src/tree/unpack.ts';

let folder: string;
let unpacker: Unpacker;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kina-brought-'));
  unpacker = new Unpacker(join(folder, 'unpacked'));
});
afterAll(() => rm(folder, { recursive: true }));

const installed: InstalledPackage = {
  name: 'tool',
  version: '1:2-3',
  architecture: 'amd64',
  multiArch: 'same',
  control: new Map([['package', 'tool']]),
  fields: [['Package', 'tool']],
  members: new Map([['postinst', Buffer.from([0, 255, 10])]]),
  paths: ['/.', '/usr', '/usr/bin/tool'],
  conffiles: new Map([['/etc/tool.conf', 'd41d8cd98f00b204e9800998ecf8427e']]),
};
/** Bytes whose key is not their digest, as in an archive of images. */
const odd: Content = { ...bytesContent('archive of images'), key: digestOf({ imageArchive: 1 }) };
const capability = new Map([['security.capability', Buffer.from([1, 0, 0, 2, 255])]]);

function trees(): Map<string, { tree: Tree; packages?: InstalledPackage[] }> {
  const tree = new Tree();
  tree.add(directory('usr', 'deb:base'));
  tree.add(directory('usr/bin', 'deb:base', 0o2755, 7, 8));
  tree.add(symlink('bin', 'usr/bin', 'deb:base'));
  tree.add({ ...file('usr/bin/tool', bytesContent('tool'), 'deb:tool', 0o4755), xattrs: capability });
  tree.add({
    type: 'hardlink',
    path: 'usr/bin/alias',
    target: 'usr/bin/tool',
    mode: 0o4755,
    uid: 0,
    gid: 0,
    owner: 'x',
  });
  tree.add(file('etc/taken', bytesContent('taken over by another layer'), 'deb:tool'));
  const images = new Tree();
  images.add(file('kind/images/one.tar', odd, 'images/one'));
  return new Map([
    [
      'base/debian',
      {
        tree,
        packages: [installed],
        prune: [{ action: 'exclude', pattern: '/usr/share/doc/*' }],
        accounts: { users: [{ name: 'u', uid: 5, group: 'g' }], groups: [], members: [] },
      },
    ],
    ['images/one', { tree: images }],
  ]);
}
/** The layer that these trees end up in: without the file that another layer has. */
async function layer(name: string): Promise<{ tar: string; key: string }> {
  const all = [...trees().values()].flatMap(({ tree }) => tree.sorted()).filter(({ path }) => path !== 'etc/taken');
  const merged = new Tree();
  for (const entry of all) merged.add(entry);
  merged.addMissingParents('kina');
  const parts: Buffer[] = [];
  for await (const part of writeTar(merged.sorted(), { mtime: 0 })) parts.push(part);
  const tar = join(folder, name);
  await writeFile(tar, Buffer.concat(parts));
  return { tar, key: sha256(await readFile(tar)) };
}
const entriesOf = async (brought: StepOutputs) =>
  Promise.all(
    [...brought].map(async ([step, { tree, ...rest }]) => ({
      step,
      rest,
      entries: await Promise.all(
        tree.sorted().map(async (entry) => {
          if (entry.type !== 'file') return entry;
          const { content, ...attributes } = entry;
          return { ...attributes, text: (await readAll(content)).toString() };
        }),
      ),
    })),
  );
/** The document, changed as JSON. */
const changed = (document: Buffer, change: (text: string) => string): Buffer =>
  zstdCompressSync(Buffer.from(change(zstdDecompressSync(document).toString())));

test('trees, attributes, owners, packages and accounts come back as they were', async () => {
  const { tar, key } = await layer('same');
  const document = await describeOutputs(trees(), tar);
  const again = await restoreOutputs(document!, { tar, key, unpacker }, 'the document');
  expect(await entriesOf(again)).toEqual(await entriesOf(trees()));
  // Every content has the digest of its bytes as key: what is made of it does not depend on where it came from.
  const content = again.get('images/one')!.tree.file('kind/images/one.tar')!.content;
  expect(content.key).toBe(sha256('archive of images'));
});

test('bytes that the layer has are not written again, those that another layer has are', async () => {
  const { tar } = await layer('small');
  const text = zstdDecompressSync((await describeOutputs(trees(), tar))!).toString();
  expect(text).toContain(Buffer.from('taken over by another layer').toString('base64'));
  expect(text).not.toContain(Buffer.from('archive of images').toString('base64'));
});

test('what would be too long is not written', async () => {
  const { tar } = await layer('long');
  const tree = new Tree();
  tree.add(file('big', bytesContent(Buffer.alloc(maxOutputBytes + 1)), 'x'));
  expect(await describeOutputs(new Map([['a/b', { tree }]]), tar)).toBeUndefined();
});

test.each<[string, (document: Buffer) => Buffer, string, RegExp]>([
  ['is cut', (d) => d.subarray(0, d.length - 9), 'archive', /cannot be read/],
  ['is not a document', () => zstdCompressSync(Buffer.from('{}')), 'archive', /was not written by this version/],
  ['unpacks without end', () => zstdCompressSync(Buffer.alloc(maxOutputBytes + 1)), 'archive', /cannot be read/],
  [
    'names other bytes',
    (d) => changed(d, (t) => t.replace(sha256('tool'), sha256('evil'))),
    'integrity',
    /usr\/bin\/tool/,
  ],
  [
    'names another size',
    (d) => changed(d, (t) => t.replace(`"${sha256('tool')}","size":4`, `"${sha256('tool')}","size":5`)),
    'integrity',
    /are not in the layer/,
  ],
  [
    'leaves the tree',
    (d) => changed(d, (t) => t.replace('"usr/bin/tool"', '"../bin/tool"')),
    'archive',
    /was not written by this version/,
  ],
])('a document that %s is refused', async (_title, damage, code, words) => {
  const { tar, key } = await layer('damaged');
  const document = damage((await describeOutputs(trees(), tar))!);
  await expect(restoreOutputs(document, { tar, key, unpacker }, 'the document')).rejects.toMatchObject({
    code,
    message: expect.stringMatching(words),
  });
});
