/**
 * Layouts and archives as sinks: they take an image from anywhere. When writing fails, the destination is unchanged:
 * archives and new layouts are written beside it and renamed; an existing layout gets the blobs first and then, in one
 * rename, the index that names them. Every blob is verified as it is written. The next output removes what a killed process
 * left beside the destination.
 */
import { constants, createWriteStream } from 'node:fs';
import { access, mkdir, open, readdir, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { isErrno, KinaError } from '../../host/errors.ts';
import { atomicWrite } from '../../host/files.ts';
import { type Reporter, silent, type Task } from '../../host/progress.ts';
import { type Descriptor, type Digest, hexOf, type ImageIndex, parseIndex } from '../descriptor.ts';
import { contentsOf, partsOf } from '../image/contents.ts';
import type { Image } from '../image/image.ts';
import { storeImage } from '../store/image.ts';
import { keepImage } from '../store/keep.ts';
import { sweepBeside, temporaryBeside } from '../store/leases.ts';
import type { Store } from '../store/store.ts';
import { dockerMembers, layoutIndex, namedDescriptors, ociLayoutBytes, ociMembers } from './archive.ts';
import { type ArchiveMember, tarStream } from './tar.ts';

export type OutputType = 'oci' | 'oci-archive' | 'docker-archive';

export interface OutputRequest {
  readonly image: Image;
  /** Where layers are decompressed for docker-archives. */
  readonly store: Store;
  /** Full references, e.g. `localhost/kina/node:v1.34.2`. */
  readonly refs: readonly string[];
  readonly type: OutputType;
  /** A path; `-` is standard output (archives only). */
  readonly dest: string;
  /** Manifests beside the image, from the same place; for layouts. */
  readonly referrers?: readonly Descriptor[];
  /** Time of the archive's members in seconds; 0 when not given. */
  readonly mtime?: number;
  readonly reporter?: Reporter;
  /** Stops the writing; the destination is then unchanged. */
  readonly signal?: AbortSignal | undefined;
}

/** Writes one output. Throws `usage` for an invalid destination, `disk-full`, and what reading the image throws. */
export async function writeOutput(request: OutputRequest): Promise<void> {
  const { store, refs, type, dest, referrers = [], reporter = silent, signal } = request;
  const image = type === 'docker-archive' ? await inStore(store, request.image) : request.image;
  const contents = await contentsOf(image);
  if (type === 'oci-archive' && refs.length > 1 && contents.platforms.length > 1)
    reporter.warn(`${dest}: podman cannot load an archive of several platforms that has several names`);
  const task = reporter.task('output', `${type} ${dest}`);
  try {
    if (type === 'oci') await writeLayout(image, referrers, refs, dest, task, signal);
    else {
      const members = type === 'oci-archive' ? ociMembers(contents, refs) : await dockerMembers(store, contents, refs);
      const bytes = stoppable(tarStream(image, members, request.mtime), signal);
      await writeArchive(bytes, dest, totalSize(members), task);
    }
  } catch (error) {
    task.fail();
    explainDestination(error, dest);
  }
  task.done();
}

/**
 * What can be known before the work: whether this destination can hold this type. Throws `usage`. Nothing is created.
 */
export async function checkDestination(type: OutputType, dest: string): Promise<void> {
  if (dest === '-') return;
  const path = resolve(dest);
  try {
    if (type !== 'oci') await refuseOtherThanFile(path, dest);
    // The parents of a layout's folder are created, those of an archive are not.
    let folder = type === 'oci' ? path : dirname(path);
    while (type === 'oci' && !(await exists(folder))) folder = dirname(folder);
    if (!(await stat(folder)).isDirectory()) throw folder === path ? notLayout(dest) : noFolder(dest, folder);
    if (type === 'oci') await existingLayout(path, dest);
    await access(folder, constants.W_OK);
  } catch (error) {
    explainDestination(error, dest);
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error) => {
      if (isErrno(error, 'ENOENT', 'ENOTDIR')) return false;
      throw error;
    },
  );
}

async function refuseOtherThanFile(path: string, dest: string): Promise<void> {
  const found = await stat(path).catch(() => undefined);
  if (found && !found.isFile())
    // as root, the rename would replace /dev/null
    throw new KinaError('usage', `${dest} is ${found.isDirectory() ? 'a folder' : 'not a regular file'}`, {
      hint: 'Name the archive file itself, e.g. dest=node.tar, or dest=- for standard output.',
    });
}

async function writeArchive(bytes: AsyncIterable<Uint8Array>, dest: string, total: number, task: Task): Promise<void> {
  const counted = Readable.from(count(bytes, total, task), { objectMode: false });
  if (dest === '-') {
    await pipeline(counted, process.stdout, { end: false });
    return;
  }
  await refuseOtherThanFile(resolve(dest), dest);
  // Follows a symbolic link, so that the link is not replaced.
  const path = await realpath(dest).catch(() => resolve(dest));
  await sweepBeside(path);
  const temporary = temporaryBeside(path);
  try {
    await pipeline(counted, createWriteStream(temporary, { flags: 'wx', flush: true, highWaterMark: 1 << 20 }));
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function inStore(store: Store, image: Image): Promise<Image> {
  return storeImage(store, (await keepImage(store, image)).root, image.names);
}

async function writeLayout(
  image: Image,
  referrers: readonly Descriptor[],
  refs: readonly string[],
  dest: string,
  task: Task,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (dest === '-') throw new KinaError('usage', 'an OCI layout is a folder and cannot go to standard output');
  const path = resolve(dest);
  // Without names, as ORAS lists them: a reader that looks for a name finds one image.
  const added = [...namedDescriptors(image.root, refs), ...referrers];
  const addTo = async (target: string): Promise<void> => {
    await writeBlobs(image, referrers, target, task, signal);
    await atomicWrite(join(target, 'oci-layout'), ociLayoutBytes);
    // Read after the blobs are written: another process may have added an image in the meantime.
    const kept = (await existingLayout(path, dest))?.manifests ?? [];
    const others = kept.filter((entry) => !added.some((own) => replaces(own, entry)));
    await atomicWrite(join(target, 'index.json'), layoutIndex([...others, ...added]));
  };
  const existing = await existingLayout(path, dest);
  await sweepBeside(path);
  if (existing) return addTo(path);
  const target = temporaryBeside(path);
  try {
    await addTo(target);
    await rename(target, path); // also over an empty folder
  } catch (error) {
    await rm(target, { recursive: true, force: true });
    // Another process created the layout first: add this image to it.
    if (!isErrno(error, 'ENOTEMPTY', 'EEXIST')) throw error;
    await addTo(path);
  }
}

/** The index of the layout at `path`; undefined when there is nothing or an empty folder. Throws `usage` otherwise. */
async function existingLayout(path: string, dest: string): Promise<ImageIndex | undefined> {
  const names = await readdir(path).catch((error): string[] => {
    if (isErrno(error, 'ENOENT')) return [];
    if (isErrno(error, 'ENOTDIR')) throw notLayout(dest);
    throw error;
  });
  if (!names.length) return undefined;
  if (!names.includes('oci-layout') || !names.includes('index.json')) throw notLayout(dest);
  return parseIndex(await readFile(join(path, 'index.json')), join(dest, 'index.json'));
}

async function writeBlobs(
  image: Image,
  referrers: readonly Descriptor[],
  target: string,
  task: Task,
  signal: AbortSignal | undefined,
): Promise<void> {
  const folder = join(target, 'blobs', 'sha256');
  await mkdir(folder, { recursive: true });
  const blobs = new Map<Digest, { readonly size: number; read(): AsyncIterable<Uint8Array> }>();
  for (const root of [image.root, ...referrers]) {
    const { documents, parts } = await partsOf({ ...image, root });
    for (const part of parts) blobs.set(part.digest, { size: part.size, read: () => image.blob(part) });
    for (const { digest, bytes } of documents)
      blobs.set(digest, { size: bytes.length, read: () => Readable.from([bytes]) });
  }
  await sweepBeside(...[...blobs.keys()].map((digest) => join(folder, hexOf(digest))));
  const total = [...blobs.values()].reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  for (const [digest, { size, read }] of blobs) {
    const path = join(folder, hexOf(digest));
    const temporary = temporaryBeside(path);
    try {
      const handle = await open(temporary, 'wx');
      await pipeline(stoppable(read(), signal), handle.createWriteStream({ flush: true, highWaterMark: 1 << 20 }));
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    done += size;
    task.progress(done, total);
  }
}

/** The same name, or the same nameless image. */
function replaces(own: Descriptor, entry: Descriptor): boolean {
  const name = (d: Descriptor) => d.annotations?.['org.opencontainers.image.ref.name'];
  return name(own) === name(entry) && (name(own) !== undefined || own.digest === entry.digest);
}

async function* stoppable<T>(source: AsyncIterable<T>, signal: AbortSignal | undefined): AsyncGenerator<T> {
  for await (const chunk of source) {
    signal?.throwIfAborted();
    yield chunk;
  }
}

async function* count(bytes: AsyncIterable<Uint8Array>, total: number, task: Task): AsyncGenerator<Uint8Array> {
  let done = 0;
  for await (const chunk of bytes) {
    yield chunk;
    done += chunk.length;
    task.progress(Math.min(done, total), total);
  }
}

function totalSize(members: readonly ArchiveMember[]): number {
  return members.reduce((sum, member) => sum + ('bytes' in member ? member.bytes.length : member.size), 0);
}

function noFolder(dest: string, folder: string): KinaError {
  return new KinaError('usage', `cannot write the output ${dest}: ${folder} is not a folder`);
}

function notLayout(dest: string): KinaError {
  return new KinaError('usage', `${dest} exists and is not an OCI image layout`, {
    hint: 'Name a new folder, an empty one, or one that an earlier build wrote.',
  });
}

function explainDestination(error: unknown, dest: string): never {
  if (isErrno(error, 'ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'EROFS'))
    throw new KinaError('usage', `cannot write the output ${dest}: ${(error as Error).message}`, {
      hint: 'Its folder must exist and be writable.',
      cause: error,
    });
  if (isErrno(error, 'ENOSPC', 'EDQUOT'))
    throw new KinaError(
      'disk-full',
      `no space left on device while writing ${dest}; what was there before is unchanged`,
      {
        hint: 'Free some space, or write to another disk.',
        cause: error,
      },
    );
  if (isErrno(error, 'EPIPE'))
    throw new KinaError('interrupted', 'the reader of standard output stopped before the end of the archive', {
      cause: error,
    });
  throw error;
}
