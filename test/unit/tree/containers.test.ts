import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readAr } from '../../../src/tree/ar.ts';
import { readZip, readZipMember } from '../../../src/tree/zip.ts';
import { collect, run, scratch } from './support.ts';

const folder = scratch();
let files = 0;
function put(bytes: Uint8Array | string): string {
  const path = join(folder, `file-${files++}`);
  writeFileSync(path, bytes);
  return path;
}
const archive = { code: 'archive' };

/** An ar file as dpkg-deb, GNU ar and BSD ar write them. */
function ar(...members: [name: string, data: string][]): Buffer {
  const parts = members.map(([name, data]) => {
    const header = `${name.padEnd(16)}${'0'.padEnd(12)}${'0'.padEnd(6)}${'0'.padEnd(6)}${'100644'.padEnd(8)}${String(data.length).padEnd(10)}\`\n`;
    return header + data + (data.length % 2 ? '\n' : '');
  });
  return Buffer.from(`!<arch>\n${parts.join('')}`, 'latin1');
}

describe('ar', () => {
  const read = async (bytes: Buffer) => {
    const path = put(bytes);
    return (await readAr(path)).map(({ name, offset, size }) => [
      name,
      bytes.subarray(offset, offset + size).toString(),
    ]);
  };

  test('plain names, with and without the slash; odd sizes; a last padding byte that is missing', async () => {
    const bytes = ar(['debian-binary', '2.0\n'], ['control.tar.xz/', 'odd'], ['data.tar.xz', 'x']);
    const wanted = [
      ['debian-binary', '2.0\n'],
      ['control.tar.xz', 'odd'],
      ['data.tar.xz', 'x'],
    ];
    expect(await read(bytes)).toEqual(wanted);
    expect(await read(bytes.subarray(0, -1))).toEqual(wanted);
    expect(await read(ar())).toEqual([]);
  });

  test('long names of GNU and of BSD; symbol tables are not members', async () => {
    const gnu = ar(
      ['/', 'symbols!'],
      ['//', 'first-very-long-name.o/\nsecond-very-long.o/\n'],
      ['/24', 'b'],
      ['/0', 'a'],
    );
    expect(await read(gnu)).toEqual([
      ['second-very-long.o', 'b'],
      ['first-very-long-name.o', 'a'],
    ]);
    const bsd = ar(['#1/12', '__.SYMDEF\0\0\0junk'], ['#1/20', 'long name of twenty!data']);
    expect(await read(bsd)).toEqual([['long name of twenty!', 'data']]);
  });

  testUnless(missing(['ar']), 'members as GNU ar writes them', async () => {
    const names = ['short', 'a-name-that-is-longer-than-fifteen', 'sixteen-letters!'];
    for (const name of names) writeFileSync(join(folder, name), `data of ${name}`);
    run('ar', ['rc', 'gnu.a', ...names], { cwd: folder });
    expect(await read(readFileSync(join(folder, 'gnu.a')))).toEqual(names.map((name) => [name, `data of ${name}`]));
  });

  test.each<[string, Buffer]>([
    ['another file', Buffer.from('PK\x03\x04')],
    ['an empty file', Buffer.alloc(0)],
    ['a truncated member', ar(['a', 'data']).subarray(0, -2)],
    ['a truncated header', ar(['a', 'data']).subarray(0, 30)],
    ['a broken header', Buffer.concat([ar(['a', 'data']), Buffer.alloc(60, 'x')])],
    ['a negative size', Buffer.from(ar(['a', '']).toString('latin1').replace('0         `', '-10       `'), 'latin1')],
    ['a name without its table', ar(['/5', 'x'])],
    ['a name behind its table', ar(['//', 'abc/\n'], ['/99', 'x'])],
    ['a name longer than its member', ar(['#1/50', 'x'])],
  ])('refuses %s', async (_name, bytes) => {
    await expect(readAr(put(bytes))).rejects.toMatchObject(archive);
  });
});

const PYTHON_ZIP = `
import zipfile, sys
with zipfile.ZipFile(sys.argv[1], 'w') as z:
    def add(name, data, mode, method=zipfile.ZIP_DEFLATED, system=3, zip64=False):
        i = zipfile.ZipInfo(name); i.compress_type = method; i.create_system = system; i.external_attr = mode << 16
        with z.open(i, 'w', force_zip64=zip64) as f: f.write(data)
    add('bin/', b'', 0o40755, zipfile.ZIP_STORED)
    add('bin/tool', b'#!/bin/sh\\n' * 5000, 0o104755)
    add('stored', b'as it is', 0o100600, zipfile.ZIP_STORED)
    add('big', b'z' * 70000, 0o100644, zip64=True)
    add('empty', b'', 0o100644)
    add('link', b'bin/tool', 0o120777, zipfile.ZIP_STORED)
    add('dos.txt', b'no mode', 0, system=0)
    add('\\u017c\\u00f3\\u0142w', b'utf-8', 0o100644)
    z.comment = b'a comment with PK\\x05\\x06 in it, to mislead a search for the end'
`;

import { missing, testUnless } from '../../support/requirements.ts';

describe('zip', () => {
  const content = async (path: string) =>
    Promise.all(
      (await readZip(path)).map(async (m) => [
        m.name,
        m.type,
        m.mode,
        (await collect(readZipMember(path, m))).toString(),
      ]),
    );

  testUnless(missing(['python3']), 'what python writes: modes, links, zip64, UTF-8, a misleading comment', async () => {
    const path = join(folder, 'python.zip');
    run('python3', ['-c', PYTHON_ZIP, path]);
    expect(await content(path)).toEqual([
      ['bin/', 'directory', 0o755, ''],
      ['bin/tool', 'file', 0o4755, '#!/bin/sh\n'.repeat(5000)],
      ['stored', 'file', 0o600, 'as it is'],
      ['big', 'file', 0o644, 'z'.repeat(70000)],
      ['empty', 'file', 0o644, ''],
      ['link', 'symlink', 0o777, 'bin/tool'],
      ['dos.txt', 'file', 0o644, 'no mode'],
      ['żółw', 'file', 0o644, 'utf-8'],
    ]);
  });

  testUnless(missing(['zip']), 'what Info-ZIP writes, streamed (sizes behind the data) and encrypted', async () => {
    const source = join(folder, 'source');
    mkdirSync(source);
    writeFileSync(join(source, 'file'), 'text '.repeat(100), { mode: 0o640 });
    symlinkSync('file', join(source, 'link'));
    const script =
      'zip -qr - file | cat > ../streamed.zip; zip -qry ../plain.zip . -i file link; zip -q -P x ../secret.zip file';
    run('sh', ['-c', script], { cwd: source });
    const text = ['file', 'file', 0o640, 'text '.repeat(100)];
    expect(await content(join(folder, 'streamed.zip'))).toEqual([text]);
    expect((await content(join(folder, 'plain.zip'))).sort()).toEqual([text, ['link', 'symlink', 0o777, 'file']]);
    await expect(readZip(join(folder, 'secret.zip'))).rejects.toThrowError(/encrypted/);
  });

  testUnless(missing(['python3']), 'refuses damage: truncation, flipped bytes, two names for one member', async () => {
    const path = join(folder, 'sound.zip');
    run('python3', ['-c', PYTHON_ZIP, path]);
    const sound = readFileSync(path);
    for (const length of [0, 10, 1000, sound.length - 1])
      await expect(content(put(sound.subarray(0, length)))).rejects.toMatchObject(archive);
    for (const [what, at] of [
      ['stored data', sound.indexOf('as it is')],
      ['deflated data', sound.indexOf('bin/tool') + 30],
      ['the local name', sound.indexOf('dos.txt')],
    ] as const) {
      const broken = Buffer.from(sound);
      broken[at]! ^= 1;
      await expect(content(put(broken)), what).rejects.toMatchObject(archive);
    }
  });
});
