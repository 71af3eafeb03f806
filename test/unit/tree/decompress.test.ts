import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { constants, crc32, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { decompressFile, sniff } from '../../../src/host/compression/decompress.ts';
import { describeUnless, missing } from '../../support/requirements.ts';
import { collect, randomBytes, randomness, run, scratch } from './support.ts';

const folder = scratch();
let files = 0;
function put(bytes: Uint8Array): string {
  const path = join(folder, `file-${files++}`);
  writeFileSync(path, bytes);
  return path;
}
const decode = (bytes: Uint8Array, options = {}) => collect(decompressFile(put(bytes), options));
const noXz = missing(['xz']);
const xz = (data: Uint8Array, ...args: string[]) => run('xz', ['-c', ...args], { input: data });

/** Text that compresses, with noise that does not. */
const noise = randomBytes(randomness(7), 70_000);
const sample = Buffer.concat([
  Buffer.from('some words, some more words. '.repeat(20_000)),
  noise,
  Buffer.alloc(90_000),
]);
const archive = { code: 'archive' };

describe('sniff', () => {
  test('names what it reads, and refuses by name what it does not', () => {
    expect(sniff(gzipSync('x'))).toBe('gzip');
    expect(sniff(zstdCompressSync('x'))).toBe('zstd');
    expect(sniff(Buffer.from('!<arch>\n'))).toBe('none');
    expect(sniff(Buffer.alloc(0))).toBe('none');
    expect(sniff(Buffer.from([0x53, 0x2a, 0x4d, 0x18]))).toBe('zstd');
    expect(() => sniff(Buffer.from('BZh91AY'), 'a.tar.bz2')).toThrowError(
      /a\.tar\.bz2.*bzip2.*unsupported compression/,
    );
    expect(() => sniff(Buffer.from([0x04, 0x22, 0x4d, 0x18]))).toThrowError(/lz4/);
    expect(() => sniff(Buffer.from([0x5d, 0, 0, 0x80, 0]))).toThrowError(/lzma/);
  });
});

describe('gzip and zstd', () => {
  const formats = [
    ['gzip', gzipSync(sample)],
    ['zstd', zstdCompressSync(sample)],
  ] as const;

  test.each(formats)('%s: whole, as a slice, twice in a row', async (_name, packed) => {
    expect((await decode(packed)).equals(sample)).toBe(true);
    const inside = Buffer.concat([Buffer.alloc(100, 1), packed, Buffer.alloc(50, 2)]);
    expect((await decode(inside, { offset: 100, size: packed.length })).equals(sample)).toBe(true);
    expect((await decode(Buffer.concat([packed, packed]))).equals(Buffer.concat([sample, sample]))).toBe(true);
  });

  test.each(formats)(
    '%s: stopping early is an error wherever it stops, in the second part too',
    async (_name, packed) => {
      const middle = packed.length >> 1;
      for (const length of [10, middle, packed.length - 9, packed.length - 1])
        await expect(decode(packed.subarray(0, length))).rejects.toMatchObject(archive);
      for (const extra of [1, 3, 12, middle])
        await expect(decode(Buffer.concat([packed, packed.subarray(0, extra)]))).rejects.toMatchObject(archive);
    },
  );

  test.each(formats)('%s: other bytes behind the data are an error', async (_name, packed) => {
    await expect(decode(Buffer.concat([packed, Buffer.from('garbage!')]))).rejects.toMatchObject(archive);
  });

  test('a flipped bit is found by the checksum', async () => {
    const gzip = Buffer.from(formats[0][1]);
    gzip[gzip.length - 6]! ^= 1;
    await expect(decode(gzip)).rejects.toMatchObject(archive);
    const zstd = zstdCompressSync(sample, { params: { [constants.ZSTD_c_checksumFlag]: 1 } });
    zstd[zstd.length - 1]! ^= 1;
    await expect(decode(zstd)).rejects.toMatchObject(archive);
  });

  // Decoders see the file in pieces of 256 KiB: an end that meets the end of a piece takes another path through them.
  test('a part that ends exactly with a read of the file', async () => {
    const piece = 256 << 10;
    const plain = gzipSync('first');
    const name = Buffer.concat([Buffer.alloc(piece - plain.length - 1, 'n'), Buffer.alloc(1)]);
    const first = Buffer.concat([
      plain.subarray(0, 3),
      Buffer.from([8]),
      plain.subarray(4, 10),
      name,
      plain.subarray(10),
    ]);
    expect(first.length).toBe(piece);
    expect(
      (await decode(Buffer.concat([first, formats[0][1]]))).equals(Buffer.concat([Buffer.from('first'), sample])),
    ).toBe(true);
    await expect(decode(Buffer.concat([first, plain.subarray(0, 5)]))).rejects.toMatchObject(archive);

    const skippable = Buffer.alloc(piece - zstdCompressSync('first').length);
    skippable.writeUInt32LE(0x184d2a50);
    skippable.writeUInt32LE(skippable.length - 8, 4);
    const frames = Buffer.concat([zstdCompressSync('first'), skippable, formats[1][1]]);
    expect((await decode(frames)).equals(Buffer.concat([Buffer.from('first'), sample]))).toBe(true);
    await expect(decode(frames.subarray(0, piece + 9))).rejects.toMatchObject(archive);
  });

  test.each(formats)('%s: output over the limit is an error', async (_name, packed) => {
    await expect(decode(packed, { limit: sample.length - 1 })).rejects.toMatchObject(archive);
    expect((await decode(packed, { limit: sample.length })).length).toBe(sample.length);
  });

  test('what is not compressed passes; a slice beyond the end is an error', async () => {
    expect((await decode(sample)).equals(sample)).toBe(true);
    await expect(decode(sample, { offset: 10, size: sample.length })).rejects.toMatchObject(archive);
    expect((await decode(Buffer.alloc(0))).length).toBe(0);
  });
});

describeUnless(noXz, 'xz', () => {
  test.each([
    ['default (CRC64, one block)', []],
    ['CRC32', ['--check=crc32']],
    ['SHA-256, which the decoder lacks', ['--check=sha256']],
    ['no check', ['--check=none']],
    ['many blocks', ['--block-size=20000']],
    ['many blocks with SHA-256', ['--block-size=33333', '--check=sha256']],
    ['threads', ['-T2', '--block-size=100000']],
    ['extreme', ['-9e']],
    ['stored and LZMA chunks', ['-0']],
  ])('%s', async (_name, args) => {
    expect((await decode(xz(sample, ...args))).equals(sample)).toBe(true);
  });

  test('nothing, one byte, and noise that is stored', async () => {
    for (const data of [Buffer.alloc(0), Buffer.from('a'), noise])
      expect((await decode(xz(data))).equals(data)).toBe(true);
  });

  test('streams in a row, with padding between and behind, inside another file', async () => {
    const one = xz(sample, '--check=sha256');
    const two = xz(noise, '--check=crc32', '--block-size=5000');
    const both = Buffer.concat([one, Buffer.alloc(5000), two, Buffer.alloc(8)]);
    const inside = Buffer.concat([Buffer.alloc(60), both, Buffer.from('next member')]);
    const decoded = await decode(inside, { offset: 60, size: both.length });
    expect(decoded.equals(Buffer.concat([sample, noise]))).toBe(true);
  });

  test('any flipped byte is found, whatever the check', async () => {
    for (const check of ['crc32', 'crc64', 'sha256']) {
      const packed = xz(sample.subarray(0, 600_000), `--check=${check}`);
      for (let i = 0; i < 24; i++) {
        const broken = Buffer.from(packed);
        const at = Math.floor(((packed.length - 1) * i) / 23);
        broken[at]! ^= 0x20;
        // A broken magic makes it a file that is not compressed: the caller finds no tar in it.
        if (at >= 6) await expect(decode(broken), `${check} byte ${at}`).rejects.toMatchObject(archive);
      }
    }
  });

  test('a flipped byte of the check alone is found', async () => {
    for (const [check, size] of [
      ['crc32', 4],
      ['crc64', 8],
      ['sha256', 32],
    ] as const) {
      const broken = xz(noise, `--check=${check}`);
      const index = (broken.readUInt32LE(broken.length - 8) + 1) * 4;
      broken[broken.length - 12 - index - size]! ^= 1;
      await expect(decode(broken)).rejects.toMatchObject(archive);
    }
  });

  test('truncation anywhere is an error', async () => {
    const packed = xz(sample, '--block-size=100000');
    for (const length of [8, 30, packed.length >> 1, packed.length - 12, packed.length - 4, packed.length - 1])
      await expect(decode(packed.subarray(0, length))).rejects.toMatchObject(archive);
  });

  test('filters that the decoder lacks are refused by name, with what to do', async () => {
    await expect(decode(xz(sample, '--x86', '--lzma2'))).rejects.toMatchObject({ code: 'archive', hint: /plain `xz`/ });
  });

  test('a bomb is refused before it is decoded, also when its index lies', async () => {
    const bomb = execFileSync('sh', ['-c', 'head -c 120000000 /dev/zero | xz -0 -c']);
    expect(bomb.length).toBeLessThan(100_000);
    const before = process.memoryUsage().rss;
    await expect(decode(bomb, { limit: 50_000_000 })).rejects.toThrowError(/expands to 120000000 bytes/);
    await expect(decode(lyingIndex(bomb, 1000 + bomb.length), { limit: 50_000_000 })).rejects.toMatchObject(archive);
    expect(process.memoryUsage().rss - before).toBeLessThan(60_000_000);
  });

  test('two streams at once, one held while the other is read: no deadlock', async () => {
    const path = put(xz(sample, '--block-size=50000'));
    const first = decompressFile(path);
    await first.next();
    expect((await collect(decompressFile(path))).equals(sample)).toBe(true);
    await first.return(undefined);
    expect((await collect(decompressFile(path))).equals(sample)).toBe(true);
  });
});

/** The same one-block file, its index saying another unpacked size, all its checksums right. */
function lyingIndex(packed: Buffer, size: number): Buffer {
  const indexSize = (packed.readUInt32LE(packed.length - 8) + 1) * 4;
  const at = packed.length - 12 - indexSize;
  const number = (value: number): number[] =>
    value < 128 ? [value] : [(value % 128) | 0x80, ...number(Math.floor(value / 128))];
  let end = at + 2;
  while (packed[end]! >= 0x80) end++;
  const records = Buffer.from([...packed.subarray(at, end + 1), ...number(size)]);
  const index = Buffer.alloc(Math.ceil(records.length / 4) * 4 + 4);
  index.set(records);
  index.writeUInt32LE(crc32(index.subarray(0, -4)), index.length - 4);
  const footer = Buffer.from(packed.subarray(-12));
  footer.writeUInt32LE(index.length / 4 - 1, 4);
  footer.writeUInt32LE(crc32(footer.subarray(4, 10)), 0);
  return Buffer.concat([packed.subarray(0, at), index, footer]);
}
