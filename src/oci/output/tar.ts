/**
 * The tar around an image: regular files with short ASCII names, which is all that image archives need. (`tree/tar-write.ts`
 * writes layers.) The bytes depend only on the members: sorted, owned by 0:0, one time, folders before their content, and
 * no `./`, which some readers refuse.
 *
 * An archive is described first and produced second: as a stream of verified bytes, or as segments that point into the
 * store, so that an archive inside an image takes no extra room.
 */
import { KinaError } from '../../host/errors.ts';
import type { Digest } from '../descriptor.ts';
import type { Image } from '../image/image.ts';
import type { Store } from '../store/store.ts';

/** A file of the archive: bytes in memory, or a blob of the image. */
export type ArchiveMember =
  | { readonly name: string; readonly bytes: Uint8Array }
  | { readonly name: string; readonly digest: Digest; readonly size: number };

/** A run of bytes: in memory, or a slice of an immutable file. The shape that trees use for content. */
export type ArchiveSegment =
  | { readonly bytes: Uint8Array }
  | { readonly file: string; readonly offset: number; readonly size: number };

const block = 512;
/** GNU tar and Docker's reader take archives padded to two zero blocks; more would only be habit. */
const endOfArchive = Buffer.alloc(2 * block);
/** ustar writes sizes as eleven octal digits; from here on PAX carries them. */
const ustarLimit = 8 * 1024 ** 3;

/** How many bytes `tarStream` produces. */
export function tarSize(members: readonly ArchiveMember[]): number {
  let size = 0;
  for (const part of parts(members, 0)) size += part instanceof Uint8Array ? part.length : part.size;
  return size;
}

/** The archive as slices: headers in memory, blobs in the store. */
export function tarSegments(store: Store, members: readonly ArchiveMember[], mtime = 0): ArchiveSegment[] {
  const segments: ArchiveSegment[] = [];
  let pending: Uint8Array[] = [];
  for (const part of parts(members, mtime)) {
    if (part instanceof Uint8Array) {
      pending.push(part);
      continue;
    }
    if (part.size === 0) continue;
    segments.push({ bytes: Buffer.concat(pending) });
    pending = [];
    segments.push({ file: store.blobPath(part.digest), offset: 0, size: part.size });
  }
  segments.push({ bytes: Buffer.concat(pending) });
  return segments;
}

/** The archive as a stream, with the blobs of `image`; throws what reading them throws. */
export async function* tarStream(
  image: Pick<Image, 'blob'>,
  members: readonly ArchiveMember[],
  mtime = 0,
): AsyncGenerator<Uint8Array> {
  for (const part of parts(members, mtime)) {
    if (part instanceof Uint8Array) yield part;
    else yield* image.blob(part);
  }
}

function* parts(
  members: readonly ArchiveMember[],
  mtime: number,
): Generator<Uint8Array | { digest: Digest; size: number }> {
  const sorted = [...members].sort((a, b) => (a.name < b.name ? -1 : 1));
  const folders = new Set<string>();
  for (const member of sorted) {
    for (let slash = member.name.indexOf('/'); slash >= 0; slash = member.name.indexOf('/', slash + 1)) {
      const folder = member.name.slice(0, slash + 1);
      if (!folders.has(folder)) yield header(folder, '5', 0, mtime);
      folders.add(folder);
    }
    const size = 'bytes' in member ? member.bytes.length : member.size;
    if (size >= ustarLimit) yield paxSize(size, mtime);
    yield header(member.name, '0', size < ustarLimit ? size : 0, mtime);
    yield 'bytes' in member ? member.bytes : member;
    if (size % block) yield Buffer.alloc(block - (size % block));
  }
  yield endOfArchive;
}

/** A ustar header (POSIX.1-1988). */
function header(name: string, type: '0' | '5' | 'x', size: number, mtime: number): Buffer {
  if (name.length > 100) throw new KinaError('internal', `${name} does not fit a tar header`);
  const buffer = Buffer.alloc(block);
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, '0')}\0`;
  buffer.write(name, 0, 'latin1');
  buffer.write(octal(type === '5' ? 0o755 : 0o644, 7), 100);
  buffer.write(octal(0, 7), 108);
  buffer.write(octal(0, 7), 116);
  buffer.write(octal(size, 11), 124);
  buffer.write(octal(mtime, 11), 136);
  buffer.write('        ', 148); // the checksum counts itself as blanks
  buffer.write(type, 156);
  buffer.write('ustar\0', 257);
  buffer.write('00', 263);
  let sum = 0;
  for (const byte of buffer) sum += byte;
  buffer.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return buffer;
}

/** A PAX extended header with the size of the next member, its own length included as the format asks. */
function paxSize(size: number, mtime: number): Buffer {
  const record = ` size=${size}\n`;
  const length = record.length + String(record.length + 2).length;
  const body = Buffer.alloc(block);
  body.write(`${length}${record}`);
  return Buffer.concat([header('PaxHeader/size', 'x', length, mtime), body]);
}
