/**
 * The 512-byte header blocks of an entry: one ustar header, preceded by a PAX header only if ustar cannot express the
 * entry (POSIX.1-2017 `pax`, "ustar Interchange Format" and "pax Extended Header").
 *
 * Written here instead of with tar-stream's `pack`, which is as fast but breaks these rules: it writes ids with six
 * digits (300000 becomes 262143) and times as 32 bits, marks sizes over 8 GiB in GNU's binary notation inside a POSIX
 * header, leaves the name empty for a directory with one component of 100 bytes, and re-encodes attribute bytes.
 */
import { KinaError } from '../host/errors.ts';
import type { Entry } from './entry.ts';

const BLOCK = 512;
/** The largest values of 11 and 7 octal digits. */
const MAX_SIZE = 0o77777777777;
const MAX_ID = 0o7777777;
/** A PAX header needs an unused name; it is constant, so that the bytes do not depend on it. */
const PAX_NAME = 'PaxHeader';

const TYPE_FLAG = { file: '0', hardlink: '1', symlink: '2', directory: '5', pax: 'x' } as const;

/** The headers of one entry, ready to be written. `mtime` is whole seconds since 1970. */
export function tarHeader(entry: Entry, mtime: number): Buffer {
  const size = entry.type === 'file' ? entry.content.size : 0;
  const path = entry.type === 'directory' ? `${entry.path}/` : entry.path;
  const target = entry.type === 'symlink' || entry.type === 'hardlink' ? entry.target : '';
  const place = splitPath(path);
  const linkFits = isAscii(target) && target.length <= 100;

  const records: Buffer[] = [];
  if (!place) records.push(record('path', path));
  if (!linkFits) records.push(record('linkpath', target));
  if (size > MAX_SIZE) records.push(record('size', String(size)));
  if (entry.uid > MAX_ID) records.push(record('uid', String(entry.uid)));
  if (entry.gid > MAX_ID) records.push(record('gid', String(entry.gid)));
  // A hard link is only a name; attributes belong to the file and are written there, once.
  if (entry.xattrs && entry.type !== 'hardlink')
    for (const [name, value] of [...entry.xattrs].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b))))
      records.push(record(`SCHILY.xattr.${name}`, value));

  const main = encode({
    ...(place ?? { name: asciiStandIn(path, entry.type === 'directory'), prefix: '' }),
    mode: entry.mode,
    uid: entry.uid > MAX_ID ? 0 : entry.uid,
    gid: entry.gid > MAX_ID ? 0 : entry.gid,
    size: size > MAX_SIZE ? 0 : size,
    mtime,
    flag: TYPE_FLAG[entry.type],
    target: linkFits ? target : asciiStandIn(target, false),
  });
  if (records.length === 0) return main;
  const body = Buffer.concat(records);
  const head = encode({
    name: PAX_NAME,
    prefix: '',
    mode: 0o644,
    uid: 0,
    gid: 0,
    size: body.length,
    mtime,
    flag: TYPE_FLAG.pax,
    target: '',
  });
  return Buffer.concat([head, body, Buffer.alloc(padding(body.length)), main]);
}

/** Zero padding for the last block of `size` bytes. */
export function padding(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

/**
 * Splits a path into ustar's 155 + 100 bytes at a slash, which neither part keeps; undefined if it does not fit. A name of
 * up to 100 bytes is not split, and otherwise the leftmost possible slash is used, so that the result is unique.
 */
function splitPath(path: string): { name: string; prefix: string } | undefined {
  if (!isAscii(path)) return undefined;
  if (path.length <= 100) return { name: path, prefix: '' };
  const cut = path.indexOf('/', path.length - 101);
  // The name must not be empty, so a directory's final slash is not a candidate.
  if (cut < 1 || cut > 155 || cut === path.length - 1) return undefined;
  return { name: path.slice(cut + 1), prefix: path.slice(0, cut) };
}

interface Fields {
  name: string;
  prefix: string;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: number;
  flag: string;
  target: string;
}

function encode(fields: Fields): Buffer {
  const block = Buffer.alloc(BLOCK);
  const put = (text: string, at: number, room: number) => block.write(text, at, room, 'latin1');
  put(fields.name, 0, 100);
  put(octal(fields.mode, 7), 100, 7);
  put(octal(fields.uid, 7), 108, 7);
  put(octal(fields.gid, 7), 116, 7);
  put(octal(fields.size, 11), 124, 11);
  put(octal(fields.mtime, 11), 136, 11);
  put(' '.repeat(8), 148, 8);
  put(fields.flag, 156, 1);
  put(fields.target, 157, 100);
  put('ustar\x0000', 257, 8);
  put('0000000\x000000000', 329, 16); // devmajor, devminor
  put(fields.prefix, 345, 155);
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += block[i] as number;
  put(`${octal(sum, 6)}\0 `, 148, 8);
  return block;
}

function octal(value: number, digits: number): string {
  const text = value.toString(8);
  if (!Number.isSafeInteger(value) || value < 0 || text.length > digits)
    throw new KinaError('internal', `${value} does not fit ${digits} octal digits of a tar header`);
  return text.padStart(digits, '0');
}

/** `LENGTH KEY=VALUE\n`, where LENGTH counts itself. */
function record(key: string, value: string | Uint8Array): Buffer {
  const rest = Buffer.concat([Buffer.from(` ${key}=`), Buffer.from(value as Uint8Array), Buffer.from('\n')]);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0x7e) return false;
  return true;
}

/** The ustar name when the PAX record has the real one: short and ASCII, so that strict readers accept it. */
function asciiStandIn(path: string, isDirectory: boolean): string {
  const plain = path.replace(/[^ -~]/g, '_').slice(0, 100);
  return isDirectory ? `${plain.slice(0, 99).replace(/\/+$/, '')}/` : plain.replace(/\/+$/, '');
}
