/**
 * The images of a layout folder, an OCI archive or a docker-archive. Plain tars and folders are read in place; compressed
 * archives (gzip, zstd, xz) and streams are unpacked into the store first.
 *
 * Configs are never rewritten: their digest is the image's id for the container runtime, and has to be the one that
 * upstream published.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { decompressFile } from '../../host/compression/decompress.ts';
import { KinaError } from '../../host/errors.ts';
import type { Image } from '../image/image.ts';
import type { Store } from '../store/store.ts';
import { dockerImages } from './docker.ts';
import { ArchiveFiles, type FindFile, type Slice } from './files.ts';
import { ociImages } from './oci.ts';
import { maxArchiveBytes, spoolArchive } from './spool.ts';
import { scanTar } from './tar-scan.ts';

/**
 * At least one image. Throws `not-found` when there is nothing at `path`, `archive` when it is neither format, `integrity`
 * for a document that does not match its digest. Layers are not read.
 */
export async function openArchive(store: Store, path: string): Promise<Image[]> {
  const found = await stat(path).catch(() => undefined);
  if (!found)
    throw new KinaError('not-found', `${path} does not exist`, {
      hint: 'Name an OCI layout folder or an image archive.',
    });
  return imagesOf(found.isDirectory() ? fileIn(path) : await filesOf(store, path), path);
}

/** The same for a plain tar that arrives as a stream; errors call it `title`. */
export async function receiveArchive(store: Store, archive: Readable, title: string): Promise<Image[]> {
  return imagesOf(await spoolArchive(store, archive, title), title);
}

async function filesOf(store: Store, path: string): Promise<FindFile> {
  const options = { limit: maxArchiveBytes, from: path };
  return (await scanTar(path)) ?? spoolArchive(store, decompressFile(path, options), path);
}

function fileIn(folder: string): FindFile {
  return async (name): Promise<Slice | undefined> => {
    if (name.split('/').includes('..')) return undefined;
    const file = join(folder, name);
    const found = await stat(file).catch(() => undefined);
    return found?.isFile() ? { file, offset: 0, size: found.size } : undefined;
  };
}

async function imagesOf(find: FindFile, title: string): Promise<Image[]> {
  const files = new ArchiveFiles(find, title);
  const index = await files.read('index.json');
  const isLayout = index && (await files.read('oci-layout'));
  const images = isLayout ? await ociImages(files, index) : await dockerImages(files);
  if (!images)
    throw new KinaError('archive', `${title} is neither an OCI image nor a docker-archive`, {
      hint: 'It needs oci-layout with index.json, or manifest.json: what `skopeo copy` and `docker save` write.',
    });
  if (images.length === 0) throw new KinaError('archive', `${title} does not contain an image`);
  return images;
}
