/**
 * Finds the members of an ar file without reading their data. A .deb is an ar file with a version, control.tar.* and
 * data.tar.* (deb(5)); each member is then decompressed in place.
 *
 * Supports the common format with both kinds of long names: GNU's table `//` with `/OFFSET`, and BSD's `#1/LENGTH` before
 * the data. Symbol tables (`/`, `/SYM64/`, `__.SYMDEF`) are for linkers and are skipped.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { KinaError } from '../host/errors.ts';

/** The location of one member's data in the file. */
export interface ArMember {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
}

const MAGIC = '!<arch>\n';
const HEADER = 60;
const MAX_MEMBERS = 100_000;
const MAX_NAMES = 16 << 20;

/** The members in file order. Throws `archive` for anything but a complete ar file; `from` names it in messages. */
export async function readAr(file: string, from: string = file): Promise<ArMember[]> {
  const handle = await open(file, 'r');
  try {
    const { size: end } = await handle.stat();
    if ((await read(handle, 0, Math.min(MAGIC.length, end))).toString('latin1') !== MAGIC)
      throw malformed(from, 'wrong magic number');
    const members: ArMember[] = [];
    let longNames: Buffer | undefined;
    for (let at = MAGIC.length; at < end; ) {
      if (at + HEADER > end) throw malformed(from, 'it is truncated');
      if (members.length > MAX_MEMBERS) throw malformed(from, `more than ${MAX_MEMBERS} members`);
      const header = (await read(handle, at, HEADER)).toString('latin1');
      if (header.slice(58) !== '`\n') throw malformed(from, `no member header at byte ${at}`);
      let size = decimal(header.slice(48, 58), from);
      let offset = at + HEADER;
      if (offset + size > end) throw malformed(from, `truncated: the member at byte ${at} should have ${size} bytes`);
      // Members start at even bytes; the last one's padding is sometimes missing.
      at = offset + size + (size % 2);

      let name = header.slice(0, 16).trimEnd();
      if (name === '//') {
        if (size > MAX_NAMES) throw malformed(from, 'the name table is too long');
        longNames = await read(handle, offset, size);
        continue;
      }
      if (name.startsWith('#1/')) {
        const length = decimal(name.slice(3), from);
        if (length > size || length > MAX_NAMES) throw malformed(from, 'a name is longer than its member');
        name = (await read(handle, offset, length)).toString('utf8').replace(/\0+$/, '');
        offset += length;
        size -= length;
      } else if (/^\/\d/.test(name)) name = longName(longNames, decimal(name.slice(1), from), from);
      else if (name !== '/' && name !== '/SYM64/') name = name.replace(/\/$/, '');
      if (name === '/' || name === '/SYM64/' || name.startsWith('__.SYMDEF')) continue;
      if (name === '') throw malformed(from, 'a member without a name');
      members.push({ name, offset, size });
    }
    return members;
  } finally {
    await handle.close();
  }
}

function longName(names: Buffer | undefined, start: number, from: string): string {
  if (!names || start >= names.length) throw malformed(from, 'a long name is missing from the name table');
  const line = names.subarray(start).toString('utf8').split('\n', 1)[0] as string;
  return line.replace(/\/$/, '');
}

function decimal(text: string, from: string): number {
  if (!/^\d{1,10} *$/.test(text)) throw malformed(from, `${JSON.stringify(text)} is not a number`);
  return Number(text);
}

async function read(handle: FileHandle, offset: number, length: number): Promise<Buffer> {
  const bytes = Buffer.alloc(length);
  const { bytesRead } = await handle.read(bytes, 0, length, offset);
  return bytes.subarray(0, bytesRead);
}

function malformed(from: string, why: string): KinaError {
  return new KinaError('archive', `${from} is not a valid ar file (.deb): ${why}`);
}
