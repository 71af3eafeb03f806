/** Archives that cannot be read in place, because they are compressed or arrive as a stream, are unpacked into the store. */
import { stat } from 'node:fs/promises';
import { posix } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { extract } from 'tar-stream';
import { KinaError } from '../../host/errors.ts';
import { type Digest, isDigest } from '../descriptor.ts';
import type { Store } from '../store/store.ts';
import { type FindFile, promisedDigest, type Slice } from './files.ts';

const maxMembers = 20_000;
export const maxArchiveBytes = 64 * 1024 ** 3;
const maxLinks = 8;

/**
 * Reads a tar once, front to back. What a file is becomes clear when the index turns up, which may be last, so every file
 * that can matter goes into the store. A blob that the store has is not written again. Throws `archive`, and `integrity` for
 * a blob that does not match its name.
 */
export async function spoolArchive(store: Store, tar: AsyncIterable<Uint8Array>, title: string): Promise<FindFile> {
  const digests = new Map<string, Digest>();
  const links = new Map<string, string>();
  const take = async (name: string, body: AsyncIterable<Uint8Array>): Promise<void> => {
    const known = promisedDigest(name) ?? layerOfPodman(name);
    const digest =
      known && (await store.has(known)) ? known : (await store.write(body, { digest: promisedDigest(name) })).digest;
    if ((digests.get(name) ?? digest) !== digest)
      throw new KinaError('archive', `${title}: ${name} is in the archive twice, with different content`);
    digests.set(name, digest);
  };
  const members = extract();
  const reading = (async () => {
    let count = 0;
    let total = 0;
    for await (const entry of members) {
      const { name: rawName, type, linkname, size = 0 } = entry.header;
      count += 1;
      total += size;
      if (count > maxMembers || total > maxArchiveBytes)
        throw new KinaError('archive', `${title}: more members or bytes than any image archive has`);
      const name = posix.normalize(rawName);
      if (type === 'file' && !isLegacy(name)) await take(name, entry as AsyncIterable<Uint8Array>);
      else if (type === 'symlink') links.set(name, posix.join(posix.dirname(name), linkname ?? ''));
      else if (type === 'link') links.set(name, posix.normalize(linkname ?? ''));
      entry.resume();
    }
  })();
  // When one side fails, the other follows with "premature close"; the typed error is the one that says why.
  const settled = await Promise.allSettled([reading, pipeline(tar, members)]);
  const failures = settled.flatMap((result) => (result.status === 'rejected' ? [result.reason as Error] : []));
  const failure = failures.find((error) => error instanceof KinaError) ?? failures[0];
  if (failure instanceof KinaError) throw failure;
  if (failure)
    throw new KinaError('archive', `${title} is not a readable tar archive: ${failure.message}`, {
      hint: 'The file may be cut short. Save or download it again.',
      cause: failure,
    });
  return async (name): Promise<Slice | undefined> => {
    let key = posix.normalize(name);
    for (let hops = 0; hops < maxLinks && links.has(key); hops++) key = links.get(key) as string;
    const digest = digests.get(key);
    if (digest === undefined) return undefined;
    const file = store.blobPath(digest);
    const found = await stat(file).catch(() => undefined);
    return found && { file, offset: 0, size: found.size };
  };
}

/** podman names a layer after its digest. This is not a promise: the config says whether the layer belongs to the image. */
function layerOfPodman(name: string): Digest | undefined {
  const digest = `sha256:${/^([0-9a-f]{64})\.tar$/.exec(name)?.[1]}`;
  return isDigest(digest) ? digest : undefined;
}

/** Files of `docker save` before 1.10 that newer readers ignore: one description and version per layer. */
function isLegacy(name: string): boolean {
  return /^[0-9a-f]{64}\/(json|VERSION)$/.test(name) || name === 'repositories';
}
