/** A tar's members with the places of their bytes in the file: nothing is read but headers, so a gigabyte takes a moment. */
import { readSync } from 'node:fs';

export interface TarMember {
  readonly name: string;
  /** The type flag: 0 file, 1 hard link, 2 symlink, 3 and 4 devices, 5 directory, 6 FIFO. */
  readonly type: string;
  readonly link: string;
  readonly size: number;
  readonly xattrs: Readonly<Record<string, string>>;
  readonly offset: number;
}

/** Reads from `start` to `end` of an open file; throws if it is not a tar. */
export function* tarMembers(fd: number, start: number, end: number): Generator<TarMember> {
  const header = Buffer.alloc(512);
  let long: { name?: string; link?: string } = {};
  let pax: Record<string, string> = {};
  for (let at = start; at + 512 <= end; ) {
    readSync(fd, header, 0, 512, at);
    if (header.every((byte) => byte === 0)) return;
    if (text(header, 257, 5) !== 'ustar') throw new Error(`no tar header at ${at}`);
    const type = text(header, 156, 1) || '0';
    const size = pax.size === undefined || 'xgLK'.includes(type) ? number(header, 124, 12) : Number(pax.size);
    const offset = at + 512;
    const body = (): Buffer => {
      const bytes = Buffer.alloc(size);
      readSync(fd, bytes, 0, size, offset);
      return bytes;
    };
    at = offset + Math.ceil(size / 512) * 512;
    if (type === 'L') long = { ...long, name: body().toString().replace(/\0+$/, '') };
    else if (type === 'K') long = { ...long, link: body().toString().replace(/\0+$/, '') };
    else if (type === 'x') pax = paxRecords(body());
    else if (type !== 'g') {
      const prefix = text(header, 345, 155);
      const short = text(header, 0, 100);
      const xattrs = Object.entries(pax).filter(([key]) => key.startsWith('SCHILY.xattr.'));
      yield {
        name: pax.path ?? long.name ?? (prefix ? `${prefix}/${short}` : short),
        type,
        link: pax.linkpath ?? long.link ?? text(header, 157, 100),
        size,
        xattrs: Object.fromEntries(xattrs.map(([key, value]) => [key.slice(13), value])),
        offset,
      };
      long = {};
      pax = {};
    }
  }
}

function text(header: Buffer, at: number, length: number): string {
  const bytes = header.subarray(at, at + length);
  const end = bytes.indexOf(0);
  return bytes.subarray(0, end < 0 ? length : end).toString('utf8');
}

/** Octal, or base 256 with the first bit set (GNU). */
function number(header: Buffer, at: number, length: number): number {
  if (header[at]! & 0x80) return Number(BigInt(`0x${header.subarray(at + 1, at + length).toString('hex')}`));
  return Number.parseInt(text(header, at, length).trim() || '0', 8);
}

function paxRecords(bytes: Buffer): Record<string, string> {
  const records: Record<string, string> = {};
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const length = Number(bytes.subarray(at, space).toString());
    if (!(length > 0)) break;
    const record = bytes.subarray(space + 1, at + length - 1).toString('latin1');
    const equals = record.indexOf('=');
    const key = record.slice(0, equals);
    const raw = record.slice(equals + 1);
    records[key] = key.startsWith('SCHILY.xattr.') ? raw : Buffer.from(raw, 'latin1').toString('utf8');
    at += length;
  }
  return records;
}
