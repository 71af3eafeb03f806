/** The store as a sink: it takes an image from anywhere, and reads only what it lacks. */
import { KinaError } from '../../host/errors.ts';
import type { Descriptor } from '../descriptor.ts';
import { buildIndex } from '../image/build.ts';
import { checkLayers, contentsOf, type ImageContents, isWhole, partsOf, platformOf } from '../image/contents.ts';
import type { Image } from '../image/image.ts';
import type { Platform } from '../platform.ts';
import { storeImage } from './image.ts';
import type { Store } from './store.ts';

export interface KeptImage {
  /** In the store: the image itself, or an index of the wanted platforms where it has more. */
  readonly root: Descriptor;
  readonly contents: ImageContents;
}

/**
 * Brings an image into the store: all of it, or the `wanted` platforms. `expect` is told what it is made of before blobs are
 * read. Throws what reading throws, `integrity` for a blob that does not match its digest, `archive` when config and
 * manifest disagree.
 */
export async function keepImage(
  store: Store,
  image: Image,
  wanted?: readonly Platform[],
  expect: (contents: ImageContents) => void = () => {},
): Promise<KeptImage> {
  const contents = await contentsOf(image, wanted);
  for (const one of contents.platforms) checkLayers(one, image.title);
  expect(contents);
  await image.prepare(contents.parts);
  for (const part of contents.parts) {
    const { digest, size } = part;
    if (await store.has(digest, size)) continue;
    // The store verifies what it writes, so the bytes are read as a range, which is not hashed a second time.
    const bytes = size > 0 ? image.blob(part, { start: 0, end: size - 1 }) : image.blob(part);
    await store.write(bytes, { digest, size, what: `${image.title}: ${part.what ?? 'blob'} (${digest})` });
  }
  for (const { digest, size, bytes } of contents.documents)
    if (!(await store.has(digest, size))) await store.writeBytes(bytes, { digest });
  return { root: await narrowed(store, contents), contents };
}

/** Whether the store has every part of an image, or of its `wanted` platforms. */
export async function hasImage(store: Store, root: Descriptor, wanted?: readonly Platform[]): Promise<boolean> {
  if (!(await store.has(root.digest, root.size))) return false;
  const image = storeImage(store, root);
  try {
    await image.prepare((await partsOf(image, wanted)).parts);
    return true;
  } catch (error) {
    if (error instanceof KinaError && error.code === 'store') return false;
    throw error;
  }
}

/** An index of the platforms that were wanted: the one that a build of just these makes, digest included. */
export async function narrowed(store: Store, contents: ImageContents): Promise<Descriptor> {
  if (isWhole(contents)) return contents.descriptor;
  return buildIndex(
    store,
    contents.platforms.map((one) => ({ ...one.descriptor, platform: platformOf(one) })),
    contents.index?.annotations,
  );
}
