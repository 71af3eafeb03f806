import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { describe, expect, test } from 'vitest';
import { type Entry, readAll } from '../../../src/tree/entry.ts';
import { writeTar } from '../../../src/tree/tar-write.ts';
import { Unpacker, type UnpackOptions } from '../../../src/tree/unpack.ts';
import { describeUnless, missing, testUnless } from '../../support/requirements.ts';
import { collect, randomBytes, randomness, run, scratch } from './support.ts';

const folder = scratch();
let count = 0;
const put = (bytes: Uint8Array): string => {
  const path = join(folder, `archive-${count++}`);
  writeFileSync(path, bytes);
  return path;
};
/** A fresh cache; `left` is everything in it. */
function cache() {
  const root = join(folder, `cache-${count++}`);
  return { root, unpacker: new Unpacker(root), left: () => (existsSync(root) ? readdirSync(root) : []) };
}
async function unpack(bytes: Uint8Array, options: Partial<UnpackOptions> = {}): Promise<Entry[]> {
  return await cache().unpacker.unpack('key', { owner: 'test', file: put(bytes), ...options });
}
/** What an entry is, in a line; the content of files as text. */
const lines = async (entries: Entry[]): Promise<string[]> =>
  Promise.all(
    entries.map(async (e) => {
      const head = `${e.type} ${e.path} ${e.mode.toString(8)} ${e.uid}:${e.gid}`;
      return e.type === 'file' ? `${head} ${await readAll(e.content)}` : 'target' in e ? `${head} ${e.target}` : head;
    }),
  );

type Part = {
  name: string;
  type?: string;
  linkname?: string;
  mode?: number;
  uid?: number;
  pax?: object;
  data?: string;
};
/** A tar with entries that no sane program writes, in just this order. */
async function tarOf(...parts: Part[]): Promise<Buffer> {
  const tar = pack();
  for (const { data = '', ...header } of parts) {
    const full = { mode: 0o644, mtime: new Date(0), type: 'file', ...header } as Parameters<typeof tar.entry>[0];
    if (full.type === 'file') tar.entry(full, data);
    else tar.entry(full);
  }
  tar.finalize();
  return await collect(tar as AsyncIterable<Buffer>);
}
const archive = { code: 'archive' };

describeUnless(missing(['tar']), 'what GNU tar writes', () => {
  const source = join(folder, 'source');
  const deep = Array.from({ length: 12 }, (_, i) => `a-long-folder-name-${i}`).join('/');
  mkdirSync(join(source, deep), { recursive: true });
  mkdirSync(join(source, 'tmp'));
  chmodSync(join(source, 'tmp'), 0o1777);
  for (const size of [0, 511, 512, 513]) writeFileSync(join(source, `size-${size}`), 'x'.repeat(size));
  writeFileSync(join(source, 'żółw'), 'utf-8');
  writeFileSync(join(source, deep, 'file'), 'deep');
  writeFileSync(join(source, 'su'), 'setuid');
  chmodSync(join(source, 'su'), 0o4755);
  run('sh', ['-c', `ln su sudo; ln -s ../x/${'y'.repeat(120)} link; ln ${deep}/file ${deep}/hard`], { cwd: source });
  const write = (...args: string[]) =>
    run('tar', ['-c', '--sort=name', '--owner=7', '--group=3000000', '--numeric-owner', ...args, '.'], { cwd: source });

  const wanted = [
    'file size-0 644 7:3000000 ',
    `file size-511 644 7:3000000 ${'x'.repeat(511)}`,
    'file su 4755 7:3000000 setuid',
    'hardlink sudo 4755 7:3000000 su',
    'directory tmp 1777 7:3000000',
    `symlink link 777 7:3000000 ../x/${'y'.repeat(120)}`,
    'file żółw 644 7:3000000 utf-8',
    `file ${deep}/file 644 7:3000000 deep`,
    `hardlink ${deep}/hard 644 7:3000000 ${deep}/file`,
  ];

  test.each(['gnu', 'posix'])('--format=%s, plain and compressed, long names and large ids', async (format) => {
    const bytes = write(`--format=${format}`);
    for (const packed of [
      bytes,
      gzipSync(bytes),
      zstdCompressSync(bytes),
      ...(missing(['xz']) === undefined ? [run('xz', ['-c'], { input: bytes })] : []),
    ]) {
      const entries = await unpack(packed);
      expect(await lines(entries)).toEqual(expect.arrayContaining(wanted));
      // Every name, `./` gone, the root itself left out.
      const names = run('tar', ['-t'], { input: bytes }).toString().trimEnd().split('\n').slice(1);
      expect(entries.map((e) => `./${e.path}${e.type === 'directory' ? '/' : ''}`).sort()).toEqual(names.sort());
    }
  });

  test('sparse files are refused by name', async () => {
    run('sh', ['-c', 'truncate -s 1M sparse; echo end >> sparse'], { cwd: folder });
    for (const format of ['gnu', 'posix']) {
      const bytes = run('tar', ['-cS', `--format=${format}`, 'sparse'], { cwd: folder });
      await expect(unpack(bytes)).rejects.toThrowError(/sparse file: .*sparse/);
    }
  });
});

describe('what other programs write', () => {
  test('our own writer: every attribute comes back, binary xattrs too', async () => {
    const capability = Buffer.from('0100000280000000ff0a3d20000000000000ffff', 'hex');
    const xattrs = new Map([
      ['security.capability', capability],
      ['user.text', Buffer.from('a=b\n')],
    ]);
    const first = await unpack(
      await tarOf(
        { name: 'usr/', type: 'directory', mode: 0o755 },
        { name: 'usr/b', mode: 0o4755, data: 'b' },
        { name: 'usr/a', type: 'link', linkname: 'usr/b' },
      ),
    );
    const entries = first.map((e) => (e.type === 'file' ? { ...e, uid: 3_000_000, xattrs } : e));
    const { unpacker, root } = cache();
    const file = put(await collect(writeTar(entries, { mtime: 1 })));
    for (const again of [unpacker, unpacker, new Unpacker(root)]) {
      const back = await again.unpack('key', { owner: 'test', file });
      expect(await lines(back)).toEqual([
        'directory usr 755 0:0',
        'file usr/a 4755 3000000:0 b',
        'hardlink usr/b 4755 3000000:0 usr/a',
      ]);
      expect(new Map([...(back[1]?.xattrs ?? [])].map(([k, v]) => [k, Buffer.from(v)]))).toEqual(xattrs);
    }
  });

  testUnless(missing(['bsdtar']), 'bsdtar: pax with its own attribute spelling beside', async () => {
    const source = join(folder, 'bsd');
    mkdirSync(source);
    writeFileSync(join(source, 'żółw'), 'x');
    const bytes = run('bsdtar', ['-c', '--format=pax', '--uid', '5', '--gid', '9999999', '.'], { cwd: source });
    expect(await lines(await unpack(bytes))).toEqual(['file żółw 644 5:9999999 x']);
  });

  testUnless(missing(['python3']), 'a zip', async () => {
    const path = join(folder, 'a.zip');
    const script = `
import zipfile, sys
z = zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED)
for name, data, mode in [('d/', '', 0o40750), ('d/run', 'code', 0o100755), ('d/link', 'run', 0o120777)]:
    i = zipfile.ZipInfo(name); i.create_system = 3; i.external_attr = mode << 16; z.writestr(i, data)
z.close()`;
    run('python3', ['-c', script, path]);
    const bytes = readFileSync(path);
    const wanted = ['directory d 750 0:0', 'symlink d/link 777 0:0 run', 'file d/run 755 0:0 code'];
    expect(await lines(await unpack(bytes, { format: 'zip' }))).toEqual(wanted);
    await expect(unpack(bytes, { format: 'zip', limit: 6 })).rejects.toMatchObject(archive);
  });
});

describe('tar’s own meaning', () => {
  test('the last entry for a path wins', async () => {
    const bytes = await tarOf(
      { name: 'a', data: 'old' },
      { name: 'd', type: 'symlink', linkname: 'x' },
      { name: './a', data: 'new', mode: 0o600 },
      { name: 'd/', type: 'directory', mode: 0o700 },
    );
    expect(await lines(await unpack(bytes))).toEqual(['file a 600 0:0 new', 'directory d 700 0:0']);
  });

  test('a hard link keeps the file that stood there, not the one that comes later', async () => {
    const bytes = await tarOf(
      { name: 'a', data: 'old' },
      { name: 'b', type: 'link', linkname: './a' },
      { name: 'c', type: 'link', linkname: 'b' },
      { name: 'a', data: 'new' },
    );
    expect(await lines(await unpack(bytes))).toEqual([
      'file a 644 0:0 new',
      'file b 644 0:0 old',
      'hardlink c 644 0:0 b',
    ]);
  });

  test('a hard link before its file, and one to a symbolic link', async () => {
    const bytes = await tarOf(
      { name: 'b', type: 'link', linkname: 'c' },
      { name: 'c', data: 'x' },
      { name: 's', type: 'symlink', linkname: 'c' },
      { name: 't', type: 'link', linkname: 's' },
    );
    expect(await lines(await unpack(bytes))).toEqual([
      'file b 644 0:0 x',
      'hardlink c 644 0:0 b',
      'symlink s 644 0:0 c',
      'symlink t 644 0:0 c',
    ]);
  });

  test('a selected hard link brings the bytes of a file that is not selected', async () => {
    const bytes = await tarOf(
      { name: 'perl', data: 'code', mode: 0o755 },
      { name: 'other', data: 'no' },
      { name: 'perl5', type: 'link', linkname: 'perl' },
    );
    const entries = await unpack(bytes, { select: (path) => path === 'perl5' });
    expect(await lines(entries)).toEqual(['file perl5 755 0:0 code']);
  });

  test('paths through a link of the archive stay, while it points inside', async () => {
    const bytes = await tarOf(
      { name: 'bin', type: 'symlink', linkname: 'usr/bin' },
      { name: 'bin/sh', data: 'x' },
      { name: 'usr/up', type: 'symlink', linkname: '../bin' },
      { name: 'usr/up/ls', data: 'y' },
    );
    expect((await unpack(bytes)).map((e) => e.path)).toEqual(['bin', 'bin/sh', 'usr/up', 'usr/up/ls']);
  });

  test('an absolute link is content like any other, when nothing goes through it', async () => {
    const bytes = await tarOf({ name: 'etc/mtab', type: 'symlink', linkname: '/proc/mounts' });
    expect(await lines(await unpack(bytes))).toEqual(['symlink etc/mtab 644 0:0 /proc/mounts']);
  });
});

describe('hostile and malformed archives leave nothing', () => {
  const outside = (linkname: string): Part[] => [
    { name: 'd/out', type: 'symlink', linkname },
    { name: 'd/out/passwd', data: 'x' },
  ];
  test.each<[string, Part[]]>([
    ['..', [{ name: 'a/../../etc/passwd', data: 'x' }]],
    ['an absolute path', [{ name: '/etc/passwd', data: 'x' }]],
    ['a path through a relative link that leaves', outside('../../etc')],
    ['a path through an absolute link', outside('/etc')],
    [
      'a path through two links',
      [{ name: 'l', type: 'symlink', linkname: 'd/out' }, ...outside('../..'), { name: 'l/x' }],
    ],
    [
      'a circle of links',
      [{ name: 'a', type: 'symlink', linkname: 'b' }, { name: 'b', type: 'symlink', linkname: 'a' }, { name: 'a/x' }],
    ],
    [
      'a path below a file',
      [
        { name: 'f', data: 'x' },
        { name: 'f/g', data: 'x' },
      ],
    ],
    ['a hard link out of the tree', [{ name: 'h', type: 'link', linkname: '../../etc/shadow' }]],
    ['an absolute hard link', [{ name: 'h', type: 'link', linkname: '/etc/shadow' }]],
    ['a hard link to nothing', [{ name: 'h', type: 'link', linkname: 'missing' }]],
    ['a hard link to itself', [{ name: 'h', type: 'link', linkname: 'h' }]],
    [
      'a hard link to a directory',
      [
        { name: 'd/', type: 'directory' },
        { name: 'h', type: 'link', linkname: 'd' },
      ],
    ],
    ['a device', [{ name: 'dev/sda', type: 'block-device' }]],
    ['a FIFO', [{ name: 'pipe', type: 'fifo' }]],
    ['a name that is not UTF-8', [{ name: 'x', pax: { path: 'caf\ufffd' } }]],
  ])('%s', async (_name, parts) => {
    const { unpacker, left } = cache();
    const file = put(await tarOf({ name: 'good', data: 'good' }, ...parts));
    await expect(unpacker.unpack('key', { owner: 'test', file })).rejects.toMatchObject(archive);
    expect(left()).toEqual([]);
  });

  test('truncation at any place, between entries too', async () => {
    const bytes = await tarOf({ name: 'a', data: 'x'.repeat(2000) }, { name: 'b', data: 'y' });
    const { unpacker, left } = cache();
    for (const length of [0, 100, 512, 1000, 3071, 3072, 3584]) {
      const file = put(bytes.subarray(0, length));
      await expect(unpacker.unpack('key', { owner: 'test', file }), `${length} bytes`).rejects.toMatchObject(archive);
    }
    for (const packed of [gzipSync(bytes), zstdCompressSync(bytes)]) {
      const file = put(packed.subarray(0, -5));
      await expect(unpacker.unpack('key', { owner: 'test', file })).rejects.toThrowError(/truncated/);
    }
    expect(left()).toEqual([]);
    // One zero block is an end, as it is for tar.
    expect((await unpack(bytes.subarray(0, 4096))).length).toBe(2);
  });

  test('entries after the end, and data that is not a tar', async () => {
    const one = await tarOf({ name: 'a', data: 'x' });
    await expect(unpack(Buffer.concat([one, one]))).rejects.toMatchObject(archive);
    await expect(unpack(Buffer.from('<html>not found</html>'.repeat(100)))).rejects.toMatchObject(archive);
    await expect(unpack(gzipSync('text'))).rejects.toMatchObject(archive);
  });

  test('more than the limit', async () => {
    const bytes = gzipSync(await tarOf({ name: 'a', data: 'x'.repeat(1_000_000) }));
    await expect(unpack(bytes, { limit: 900_000 })).rejects.toMatchObject(archive);
  });

  test('a damaged PAX header', async () => {
    const bytes = await tarOf({ name: 'x', pax: { 'SCHILY.xattr.user.a': 'value' }, data: 'x' });
    bytes.write('99', bytes.indexOf('SCHILY') - 3);
    await expect(unpack(bytes)).rejects.toMatchObject(archive);
  });
});

describe('the cache', () => {
  const random = randomness(3);
  const parts = Array.from({ length: 300 }, (_, i) => ({
    name: `d/${i}`,
    data: randomBytes(random, random(9000)).toString('latin1'),
  }));

  test('a second time does not touch the archive; equal files have equal keys; owners are the caller’s', async () => {
    const { root, unpacker } = cache();
    const file = put(await tarOf({ name: 'a', data: 'same' }, { name: 'b', data: 'same' }));
    const first = await unpacker.unpack('sha256:0/data.tar', { owner: 'one', file });
    writeFileSync(file, 'gone');
    const second = await new Unpacker(root).unpack('sha256:0/data.tar', { owner: 'two', file });
    expect(await lines(second)).toEqual(await lines(first));
    expect(second.map((e) => e.owner)).toEqual(['two', 'two']);
    const keys = second.map((e) => (e.type === 'file' ? e.content.key : ''));
    expect(keys[0]).toBe(keys[1]);
    expect(keys[0]).toMatch(/^sha256:[0-9a-f]{64}$/);
  });

  test('many at once, in one process and as if in several: one result, nothing else left', async () => {
    const { root, unpacker, left } = cache();
    const file = put(await tarOf(...parts));
    const others = [unpacker, unpacker, unpacker, new Unpacker(root), new Unpacker(root)];
    const all = await Promise.all(others.map((u, i) => u.unpack('key', { owner: `o${i}`, file })));
    const wanted = await lines(all[0] as Entry[]);
    expect(wanted.length).toBe(300);
    for (const entries of all) expect(await lines(entries)).toEqual(wanted);
    expect(left().length).toBe(1);
  });

  test.each<[string, (folder: string) => void]>([
    ['is shorter', (f) => writeFileSync(join(f, 'data'), 'x')],
    ['was written to', (f) => utimesSync(join(f, 'data'), 1, 1)],
    ['has no list', (f) => writeFileSync(join(f, 'entries.json'), '')],
    ['has a list of another format', (f) => writeFileSync(join(f, 'entries.json'), '{"format":0}')],
  ])('a folder that %s is made again', async (_name, damage) => {
    const { root, left } = cache();
    const file = put(await tarOf({ name: 'a', data: 'content' }));
    const options = { owner: 'test', file };
    await new Unpacker(root).unpack('key', options);
    const made = join(root, left()[0] as string);
    for (const name of readdirSync(made)) chmodSync(join(made, name), 0o644);
    damage(made);
    expect(await lines(await new Unpacker(root).unpack('key', options))).toEqual(['file a 644 0:0 content']);
    expect(left()).toEqual([basename(made)]);
  });

  test('progress ends at the size of the tar', async () => {
    const bytes = await tarOf(...parts);
    const seen: number[] = [];
    await unpack(gzipSync(bytes), { onProgress: (n) => seen.push(n) });
    expect(seen.at(-1)).toBe(bytes.length);
  });

  test('pack files hold the selected bytes only', async () => {
    const { root, unpacker, left } = cache();
    const file = put(await tarOf({ name: 'big', data: 'x'.repeat(100_000) }, { name: 'small', data: 'y' }));
    await unpacker.unpack('key', { owner: 'test', file, select: (path) => path === 'small' });
    expect(statSync(join(root, left()[0] as string, 'data')).size).toBe(1);
  });
});
