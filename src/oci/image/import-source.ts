/** Where imported images come from: the files of an archive or of a layout folder, brought into the store by name. */
import { createReadStream } from 'node:fs';
import { open, readFile, stat } from 'node:fs/promises';
import { join, posix } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { extract } from 'tar-stream';
import { KinaError } from '../../host/errors.ts';
import { type Digest, isDigest, maxManifestBytes } from '../descriptor.ts';
import type { Store } from '../store/store.ts';

/**
 * The files of a source. `digestOf` is undefined for what is not there; what it names can be read. `claimed` is the digest
 * that another document gives the file: a source that checks what it reads may take its word.
 */
export interface ArchiveFiles {
  digestOf(name: string, claimed?: Digest): Promise<Digest | undefined>;
}

const maxMembers = 20_000;
const maxTotalBytes = 64 * 1024 ** 3;
const maxLinks = 8;

/**
 * Reads a tar into the store: the file `path`, plain, gzip or zstd, or a plain one that comes as a `stream` and that
 * errors call `path`. What the store holds under a promised digest is not written again.
 */
export async function readArchive(store: Store, path: string, stream?: Readable): Promise<ArchiveFiles> {
  const files = new Map<string, Digest>();
  const links = new Map<string, string>();
  let members = 0;
  let total = 0;
  const take = async (name: string, body: AsyncIterable<Uint8Array>): Promise<void> => {
    const known = promisedDigest(name) ?? layerOfPodman(name);
    const digest =
      known && (await store.has(known)) ? known : (await store.write(body, { digest: promisedDigest(name) })).digest;
    const before = files.get(name);
    if (before && before !== digest)
      throw new KinaError('archive', `${path}: ${name} is in the archive twice, with different content`);
    files.set(name, digest);
  };
  const tar = extract();
  const reading = (async () => {
    for await (const entry of tar) {
      const { name: rawName, type, linkname, size = 0 } = entry.header;
      members += 1;
      total += size;
      if (members > maxMembers || total > maxTotalBytes)
        throw new KinaError('archive', `${path}: more members or bytes than any image archive has`);
      const name = posix.normalize(rawName);
      if (type === 'file' && !isLegacy(name)) await take(name, entry as AsyncIterable<Uint8Array>);
      else if (type === 'symlink') links.set(name, posix.join(posix.dirname(name), linkname ?? ''));
      else if (type === 'link') links.set(name, posix.normalize(linkname ?? ''));
      entry.resume();
    }
  })();
  // When one side fails the other follows with "premature close"; the typed error is the one that says why.
  const settled = await Promise.allSettled([reading, pipeline(stream ?? (await decompressed(path)), tar)]);
  const failures = settled.flatMap((result) => (result.status === 'rejected' ? [result.reason as Error] : []));
  const failure = failures.find((error) => error instanceof KinaError) ?? failures[0];
  if (failure instanceof KinaError) throw failure;
  if (failure)
    throw new KinaError('archive', `${path} is not a readable tar archive: ${failure.message}`, {
      hint: 'The file may be cut short. Save or download it again.',
      cause: failure,
    });
  return {
    async digestOf(name) {
      let key = posix.normalize(name);
      for (let hops = 0; hops < maxLinks && links.has(key); hops++) key = links.get(key) as string;
      return files.get(key);
    },
  };
}

/** A layout folder: blobs are read when they are asked for, unless the store has them. */
export async function readLayout(store: Store, folder: string): Promise<ArchiveFiles> {
  return {
    async digestOf(name) {
      const path = join(folder, name); // names come from kina and from digests, never from the folder's documents
      const found = await stat(path).catch(() => undefined);
      if (!found?.isFile()) return undefined;
      const digest = promisedDigest(name);
      if (digest) {
        if (!(await store.has(digest)))
          await store.write(createReadStream(path, { highWaterMark: 1 << 20 }), { digest });
        return digest;
      }
      if (found.size > maxManifestBytes) throw new KinaError('archive', `${path} is too large for what it should be`);
      return (await store.writeBytes(await readFile(path))).digest;
    },
  };
}

/** The digest that a blob's name promises. */
export function promisedDigest(name: string): Digest | undefined {
  const match = /^blobs\/sha256\/([0-9a-f]{64})$/.exec(name);
  const digest = `sha256:${match?.[1]}`;
  return isDigest(digest) ? digest : undefined;
}

/** podman calls a layer by its digest. No promise: whether it belongs to the image is for the image's config to say. */
function layerOfPodman(name: string): Digest | undefined {
  const digest = `sha256:${/^([0-9a-f]{64})\.tar$/.exec(name)?.[1]}`;
  return isDigest(digest) ? digest : undefined;
}

/** Files of `docker save` before 1.10 that newer readers ignore: one description and version per layer. */
function isLegacy(name: string): boolean {
  return /^[0-9a-f]{64}\/(json|VERSION)$/.test(name) || name === 'repositories';
}

async function decompressed(path: string): Promise<Readable> {
  const handle = await open(path, 'r');
  const head = Buffer.alloc(4);
  try {
    await handle.read(head, 0, 4, 0);
  } finally {
    await handle.close();
  }
  const source = createReadStream(path, { highWaterMark: 1 << 20 });
  const through = head[0] === 0x1f && head[1] === 0x8b ? createGunzip() : undefined;
  const decoder = through ?? (head.readUInt32BE() === 0x28b52ffd ? createZstdDecompress() : undefined);
  if (!decoder) return source;
  source.on('error', (error) => decoder.destroy(error));
  return source.pipe(decoder);
}
