import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { bytesContent, type Entry, readAll, sliceContent } from '../../../src/tree/entry.ts';
import { tarHeader } from '../../../src/tree/tar-header.ts';
import { settleHardlinks, tarSize, writeTar } from '../../../src/tree/tar-write.ts';
import { comparePaths, directory, file, symlink } from '../../../src/tree/tree.ts';
import { collect, randomBytes, randomness, run, scratch } from './support.ts';

const MTIME = 1_700_000_000;
const folder = scratch();
const owner = 'test';
const tar = (entries: Entry[]) => collect(writeTar(entries, { mtime: MTIME }));
const hardlink = (path: string, target: string): Entry => ({
  type: 'hardlink',
  path,
  target,
  mode: 0o644,
  uid: 0,
  gid: 0,
  owner,
});

/** One line per entry, from us and from python's tarfile alike. */
interface Line {
  name: string;
  type: string;
  mode: number;
  uid: number;
  gid: number;
  link: string;
  mtime: number;
  names: string;
  sha?: string;
  xattrs: Record<string, string>;
}

async function expected(entries: Entry[]): Promise<Line[]> {
  const settled = settleHardlinks(entries).sort((a, b) => comparePaths(a.path, b.path));
  return Promise.all(
    settled.map(async (e) => ({
      name: e.path,
      type: { file: '0', hardlink: '1', symlink: '2', directory: '5' }[e.type],
      mode: e.mode,
      uid: e.uid,
      gid: e.gid,
      link: 'target' in e ? e.target : '',
      mtime: MTIME,
      names: '',
      ...(e.type === 'file'
        ? {
            sha: createHash('sha256')
              .update(await readAll(e.content))
              .digest('hex'),
          }
        : {}),
      xattrs: Object.fromEntries(
        e.type === 'hardlink' ? [] : [...(e.xattrs ?? [])].map(([k, v]) => [k, Buffer.from(v).toString('hex')]),
      ),
    })),
  );
}

const PYTHON = `
import tarfile, json, hashlib, sys
out = []
for m in (t := tarfile.open(sys.argv[1], 'r:', errorlevel=2)):
    e = dict(name=m.name, type=m.type.decode(), mode=m.mode, uid=m.uid, gid=m.gid, link=m.linkname, mtime=int(m.mtime), names=m.uname + m.gname)
    if m.isreg(): e['sha'] = hashlib.sha256(t.extractfile(m).read()).hexdigest()
    e['xattrs'] = {k[13:]: v.encode('utf-8', 'surrogateescape').hex() for k, v in m.pax_headers.items() if k.startswith('SCHILY.xattr.')}
    out.append(e)
json.dump(out, sys.stdout)
`;

import { missing, testUnless } from '../../support/requirements.ts';

function python(bytes: Buffer): Line[] {
  const path = join(folder, `${createHash('sha256').update(bytes).digest('hex')}.tar`);
  writeFileSync(path, bytes);
  return JSON.parse(run('python3', ['-c', PYTHON, path]).toString());
}

/** A path of that many bytes with slashes there; every call starts with another letter, so none is inside another. */
const long = (length: number, ...slashes: number[]) => {
  const shift = slashes.reduce((sum, at) => sum + at, length);
  const text = Array.from({ length }, (_, i) => String.fromCharCode(97 + ((i + shift) % 26)));
  for (const at of slashes) text[at] = '/';
  return text.join('');
};

/** Every place where a tar writer has been seen to go wrong. */
function traps(): Entry[] {
  const data = (size: number) => bytesContent(randomBytes(randomness(size), size));
  const capability = Buffer.from('0100000280000000ff0a3d2000000000000000ff', 'hex');
  return [
    ...[0, 1, 511, 512, 513, 1024].map((size) => file(`size-${size}`, data(size), owner)),
    file(long(100), data(3), owner),
    file(long(101, 50), data(3), owner),
    file(long(101), data(3), owner), // no slash to cut at
    file(long(256, 155), data(3), owner), // 155 + 1 + 100: the most ustar can say
    file(long(256, 154), data(3), owner), // name part of 101
    file(long(257, 156), data(3), owner), // prefix of 156
    file(long(400, 100, 200, 300), data(3), owner),
    directory(long(99), owner), // 100 with its slash
    directory(`${long(100)}-d`.slice(2), owner), // 100 without
    directory(`dir/${long(100)}`, owner), // the path is not split at the final slash
    directory('dir', owner),
    file('dir.txt', data(2), owner), // sorts between dir and dir/...
    file('dir-x', data(2), owner),
    directory('tmp', owner, 0o1777),
    directory('mail', owner, 0o2775, 0, 8),
    { ...file('su', data(9), owner, 0o4755), uid: 0, gid: 42 },
    file('none', data(1), owner, 0),
    file('ids-octal', data(1), owner, 0o644, 2_097_151, 300_000),
    file('ids-pax', data(1), owner, 0o644, 3_000_000, 2_097_152),
    file('ids-max', data(1), owner, 0o644, 4_294_967_294, 0),
    symlink('link-100', long(100), owner),
    symlink('link-101', long(101), owner),
    symlink('link-utf8', 'żółw/\u{1f422}', owner),
    file('żółw', data(5), owner),
    file('\u{ff5e}', data(5), owner), // UTF-16 would sort this after the next
    file('\u{1f422}', data(5), owner),
    directory('\u{1f422}d', owner),
    file('new\nline\ttab', data(5), owner),
    file('equals=sign', data(5), owner),
    { ...file('ping', data(7), owner, 0o755), xattrs: new Map([['security.capability', capability]]) },
    {
      ...directory('attributes', owner),
      xattrs: new Map([
        ['user.z', Buffer.from('a=b\nc')],
        ['user.a', Buffer.alloc(0)],
        ['user.10', Buffer.alloc(80, 'x')], // its record's length grows a digit by counting itself
      ]),
    },
    file('z-target', data(600), owner, 0o755, 1, 2),
    hardlink('a-link', 'z-target'),
    hardlink('m-link', 'z-target'),
  ];
}

function randomTree(seed: number): Entry[] {
  const random = randomness(seed);
  const entries = new Map<string, Entry>();
  const folders = [''];
  const letters = ['a', 'b', '.', '-', '_', 'Z', '9', 'é', '本', '\u{1d11e}', ' '];
  for (let i = 0; i < 150; i++) {
    const length = random(8) === 0 ? 60 + random(60) : 1 + random(8);
    const name = `${Array.from({ length }, () => letters[random(random(3) ? 6 : letters.length)]).join('')}${i}`;
    const path = `${folders[random(folders.length)]}${name}`;
    const ids = [random(3) ? 0 : random(4_294_967_294), random(3) ? 0 : random(3_000_000)] as const;
    const mode = random(0o10000);
    const files = [...entries.values()].filter((e) => e.type === 'file');
    const kind = random(10);
    if (kind < 3) {
      entries.set(path, directory(path, owner, mode, ...ids));
      folders.push(`${path}/`);
    } else if (kind === 3) entries.set(path, { ...symlink(path, `../${name}`.repeat(1 + random(4)), owner) });
    else if (kind === 4 && files.length) entries.set(path, hardlink(path, files[random(files.length)]!.path));
    else entries.set(path, file(path, bytesContent(randomBytes(random, random(1500))), owner, mode, ...ids));
  }
  return [...entries.values()];
}

const shuffled = <T>(list: T[], seed: number): T[] => {
  const random = randomness(seed);
  return list.map((v) => [random(1 << 30), v] as const).sort((a, b) => a[0] - b[0]).map(([, v]) => v); // biome-ignore format: one thought
};

describe('writeTar', () => {
  testUnless(missing(['python3']), 'every trap reads back the same with python tarfile', async () => {
    expect(python(await tar(traps()))).toEqual(await expected(traps()));
  });

  testUnless(missing(['python3']), 'random trees read back the same with python tarfile', async () => {
    for (const seed of [1, 2]) expect(python(await tar(randomTree(seed)))).toEqual(await expected(randomTree(seed)));
  });

  for (const [program, args] of [
    ['tar', ['--numeric-owner', '--quoting-style=literal', '-tvf']],
    ['bsdtar', ['--numeric-owner', '-tvf']],
  ] as const)
    testUnless(missing([program]), `${program} lists type, mode, ids, size and name of every trap`, async () => {
      const path = join(folder, `${program}.tar`);
      const entries = traps().filter((e) => !e.path.includes('\n'));
      writeFileSync(path, await tar(entries));
      const lines = run(program, [...args, path])
        .toString()
        .trimEnd()
        .split('\n');
      const want = settleHardlinks(entries).sort((a, b) => comparePaths(a.path, b.path));
      expect(lines.length).toBe(want.length);
      for (const [i, entry] of want.entries()) {
        const words = (lines[i] as string)
          .replace(/^(\S+)\s+\d+\s+(\d+)\s+(\d+)\s+(\d+)\s/, '$1 $2/$3 $4 ')
          .split(/\s+/);
        const type = { file: '-', directory: 'd', symlink: 'l', hardlink: 'h' }[entry.type];
        expect(words.slice(0, 3)).toEqual([
          `${type}${permissions(entry.mode)}`,
          `${entry.uid}/${entry.gid}`,
          String(entry.type === 'file' ? entry.content.size : 0),
        ]);
        expect(lines[i]).toContain(entry.path);
      }
    });

  testUnless(missing(['bsdtar']), 'libarchive sees the raw bytes of binary attributes', async () => {
    const path = join(folder, 'attributes.tar');
    writeFileSync(path, await tar(traps()));
    const mtree = run('bsdtar', ['-cf', '-', '--format=pax', `@${path}`]);
    // libarchive writes its own spelling beside SCHILY's: base64 of exactly the bytes it understood.
    expect(mtree.includes('LIBARCHIVE.xattr.security.capability=AQAAAoAAAAD/Cj0gAAAAAAAAAP8')).toBe(true);
  });

  test('order of input, time zone, locale and umask leave no trace', async () => {
    const wanted = await tar(traps());
    for (const seed of [1, 2, 3]) expect((await tar(shuffled(traps(), seed))).equals(wanted)).toBe(true);
    const { TZ, LC_ALL } = process.env;
    const umask = process.umask(0o077);
    try {
      process.env.TZ = 'Asia/Kathmandu';
      process.env.LC_ALL = 'tr_TR.UTF-8';
      expect((await tar(traps())).equals(wanted)).toBe(true);
    } finally {
      process.umask(umask);
      for (const [name, value] of Object.entries({ TZ, LC_ALL }))
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
    }
  });

  test('bytes are what they were: a change here changes every digest', async () => {
    const digest = createHash('sha256')
      .update(await tar(traps()))
      .digest('hex');
    expect(digest).toBe('dca87f3aa6f54b6e17bfcc23e93d602381b70043810b16be68d08b900ae0057d');
  });

  test('PAX only where ustar cannot say it', async () => {
    const plain = traps().filter((e) => /^(size-|tmp|su|dir$|ids-octal|link-100|[amz]-)/.test(e.path));
    expect((await tar(plain)).includes('PaxHeader')).toBe(false);
    for (const entry of traps().filter((e) => /^(ids-pax|link-101|ping|żółw|dir\/)/.test(e.path))) {
      const bytes = await tar([entry]);
      expect(bytes.includes('PaxHeader')).toBe(true);
      expect(bytes.includes('atime') || bytes.includes('ctime') || bytes.includes('mtime')).toBe(false);
    }
  });

  testUnless(missing(['python3']), 'sizes that need more than eleven octal digits', async () => {
    const sized = (size: number): Entry => file('big', { size, segments: [], key: 'k' }, owner);
    for (const [size, pax] of [
      [2 ** 33 - 1, false],
      [2 ** 33, true],
      [2 ** 40 + 1, true],
    ] as const) {
      const path = join(folder, `size-${size}.tar`);
      const header = tarHeader(sized(size), MTIME);
      writeFileSync(path, header);
      expect(header.includes('PaxHeader')).toBe(pax);
      const script = 'import tarfile, sys; print(tarfile.open(sys.argv[1]).next().size)';
      expect(Number(run('python3', ['-c', script, path]))).toBe(size);
      expect(tarSize([sized(size)])).toBe(header.length + Math.ceil(size / 512) * 512 + 1024);
    }
  });

  test('tarSize, two zero blocks at the end, and nothing after them', async () => {
    for (const entries of [[], traps(), randomTree(9)]) {
      const bytes = await tar(entries);
      expect(bytes.length).toBe(tarSize(entries));
      expect(bytes.subarray(-1024).equals(Buffer.alloc(1024))).toBe(true);
    }
    expect((await tar([])).length).toBe(1024);
  });

  test('slices of a file and memory make one content; chunks are big', async () => {
    const pack = join(folder, 'pack');
    const bytes = randomBytes(randomness(5), 900_000);
    writeFileSync(pack, bytes);
    const small = Array.from({ length: 300 }, (_, i) =>
      file(`s/${String(i).padStart(3, '0')}`, sliceContent(pack, i * 700, 700, `k${i}`), owner),
    );
    const mixed = file(
      'mixed',
      {
        size: 800_003,
        key: 'mixed',
        segments: [{ bytes: Buffer.from('abc') }, { file: pack, offset: 100_000, size: 800_000 }],
      },
      owner,
    );
    const sizes: number[] = [];
    const parts: Buffer[] = [];
    for await (const chunk of writeTar([...small, mixed], { mtime: 0 })) {
      sizes.push(chunk.length);
      parts.push(chunk);
    }
    expect(sizes.slice(0, -1).every((size) => size >= 65_536)).toBe(true);
    const whole = Buffer.concat(parts);
    expect(whole.subarray(512, 515).toString()).toBe('abc');
    expect(whole.subarray(515, 800_515).equals(bytes.subarray(100_000))).toBe(true);
  });

  test('a file of the store that lost bytes is an error, not zeros', async () => {
    const pack = join(folder, 'short');
    writeFileSync(pack, 'only this');
    await expect(tar([file('x', sliceContent(pack, 4, 100, 'k'), owner)])).rejects.toMatchObject({ code: 'store' });
  });

  test.each<[string, Entry[]]>([
    ['a path twice', [file('a', bytesContent(''), owner), directory('a', owner)]],
    ['a path through a symbolic link', [symlink('bin', 'usr/bin', owner), file('bin/sh', bytesContent(''), owner)]],
    ['a path below a file', [file('a', bytesContent(''), owner), file('a/b/c', bytesContent(''), owner)]],
    ['a whiteout', [file('etc/.wh.passwd', bytesContent(''), owner)]],
    ['a component of 256 bytes', [file('é'.repeat(128), bytesContent(''), owner)]],
    ['an absolute path', [file('/etc/passwd', bytesContent(''), owner)]],
    ['a path with ..', [file('a/../b', bytesContent(''), owner)]],
    ['the root', [directory('', owner)]],
    ['a mode with type bits', [file('a', bytesContent(''), owner, 0o100644)]],
    ['a negative id', [file('a', bytesContent(''), owner, 0o644, -1)]],
    ['the id that means none', [file('a', bytesContent(''), owner, 0o644, 0xffff_ffff)]],
  ])('refuses %s', async (_name, entries) => {
    await expect(tar(entries)).rejects.toMatchObject({ name: 'KinaError' });
  });
});

describe('settleHardlinks', () => {
  const target: Entry = {
    ...file('m', bytesContent('x'), 'deb:m', 0o4755, 1, 2),
    xattrs: new Map([['user.a', Buffer.from('1')]]),
  };

  test('the first-sorted name is the file, whichever held it before; attributes are the inode’s', () => {
    const settled = settleHardlinks([
      hardlink('z', 'm'),
      target,
      hardlink('b', 'z'),
      file('other', bytesContent(''), owner),
    ]);
    expect(settled.map((e) => [e.path, e.type, e.mode, 'target' in e ? e.target : ''])).toEqual([
      ['z', 'hardlink', 0o4755, 'b'],
      ['m', 'hardlink', 0o4755, 'b'],
      ['b', 'file', 0o4755, ''],
      ['other', 'file', 0o644, ''],
    ]);
    expect(settled[2]).toMatchObject({ uid: 1, gid: 2, xattrs: target.xattrs, owner });
  });

  test.each<[string, Entry[]]>([
    ['whose file is in another layer', [hardlink('a', 'b')]],
    ['in a circle', [hardlink('a', 'b'), hardlink('b', 'a')]],
    ['to a directory', [hardlink('a', 'd'), directory('d', owner)]],
    ['to a symbolic link', [hardlink('a', 's'), symlink('s', 'm', owner), target]],
  ])('refuses a link %s', (_name, entries) => {
    expect(() => settleHardlinks(entries)).toThrowError(expect.objectContaining({ code: 'conflict' }));
  });
});

function permissions(mode: number): string {
  const letters = [...'rwxrwxrwx'].map((c, i) => (mode & (1 << (8 - i)) ? c : '-'));
  const special = (bit: number, at: number, on: string) => {
    if (mode & bit) letters[at] = letters[at] === 'x' ? on : on.toUpperCase();
  };
  special(0o4000, 2, 's');
  special(0o2000, 5, 's');
  special(0o1000, 8, 't');
  return letters.join('');
}
