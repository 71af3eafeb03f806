import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { readElf } from '../../../src/tree/elf.ts';
import { bytesContent, sliceContent } from '../../../src/tree/entry.ts';
import { describeUnless, missing } from '../../support/requirements.ts';
import { run } from './support.ts';

const read = (path: string) => readElf(sliceContent(path, 0, statSync(path).size, path));

/** Programs and libraries of this host, and of other architectures where a cross compiler brought some. */
function samples(): string[] {
  const folders = ['/usr/bin', `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`];
  const found = folders.filter(existsSync).flatMap((folder) => readdirSync(folder).map((name) => join(folder, name)));
  const files = found.filter((path) => statSync(path, { throwIfNoEntry: false })?.isFile());
  return files.filter((_, i) => i % Math.ceil(files.length / 40) === 0);
}

describeUnless(missing(['readelf']), 'readElf says what readelf says', () => {
  test('about programs and libraries of this host', async () => {
    let elves = 0;
    for (const path of samples()) {
      const elf = await read(path);
      if (!elf) {
        expect(readFileSync(path).subarray(0, 4).toString('latin1')).not.toBe('\x7fELF');
        continue;
      }
      elves++;
      const text = run('readelf', ['-hldnW', path]).toString();
      const one = (pattern: RegExp) => text.match(pattern)?.[1];
      expect({
        path,
        class: Number(one(/Class:\s+ELF(\d+)/)),
        soname: one(/\(SONAME\)\s+Library soname: \[(.*)\]/),
        needed: [...text.matchAll(/\(NEEDED\)\s+Shared library: \[(.*)\]/g)].map((m) => m[1]),
        interpreter: one(/Requesting program interpreter: (.*)\]/),
        flags: Number(one(/Flags:\s+(0x[0-9a-f]+)/)),
        shared: /Type:\s+DYN/.test(text),
        // gold writes the note without the segment that points to it; the loader's segment is what counts.
        baseline: /^\s+GNU_PROPERTY /m.test(text) && /x86 ISA needed: .*x86-64-baseline/.test(text),
      }).toEqual({
        path,
        class: elf.class,
        soname: elf.soname,
        needed: elf.needed,
        interpreter: elf.interpreter,
        flags: elf.flags,
        shared: elf.type === 'shared',
        baseline: ((elf.isaNeeded ?? 0) & 1) === 1,
      });
    }
    expect(elves).toBeGreaterThan(5);
  });
});

/** The first 64 bytes of an ELF file without program headers. */
function header(bits: 1 | 2, order: 1 | 2, machine: number, flags = 0): Buffer {
  const bytes = Buffer.alloc(64);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, bits, order, 1]);
  const at = bits === 2 ? 48 : 36;
  if (order === 1) {
    bytes.writeUInt16LE(2, 16);
    bytes.writeUInt16LE(machine, 18);
    bytes.writeUInt32LE(flags, at);
  } else {
    bytes.writeUInt16BE(2, 16);
    bytes.writeUInt16BE(machine, 18);
    bytes.writeUInt32BE(flags, at);
  }
  return bytes;
}

test.each([
  ['x86-64', header(2, 1, 62), 64],
  ['aarch64', header(2, 1, 183), 64],
  ['arm', header(1, 1, 40, 0x5000400), 32],
  ['s390x', header(2, 2, 22), 64],
  ['ppc64', header(2, 2, 21), 64],
  ['machine 4711', header(2, 1, 4711), 64],
])('%s by its number, in either byte order and class', async (machine, bytes, bits) => {
  expect(await readElf(bytesContent(bytes))).toMatchObject({ machine, class: bits, type: 'executable', needed: [] });
});

test('a file that is not ELF', async () => {
  for (const text of ['', '#!/bin/sh\n', '\x7fELF', 'x'.repeat(100), '\x7fELF'.padEnd(100, '\xff')])
    expect(await readElf(bytesContent(Buffer.from(text, 'latin1')))).toBeUndefined();
});

test('damage does not crash: every cut and many flipped bytes', async () => {
  const whole = readFileSync(process.execPath).subarray(0, 4096);
  for (let length = 0; length < 1200; length += 11) await readElf(bytesContent(whole.subarray(0, length)));
  for (let at = 4; at < 1200; at += 5) {
    const broken = Buffer.from(whole);
    broken.fill(0xff, at, at + 8);
    await readElf(bytesContent(broken));
  }
});
