/** Finding an image in the store by its name, and some of its platforms. */
import { KinaError } from '../../host/errors.ts';
import type { Descriptor } from '../descriptor.ts';
import { type Platform, platformName } from '../platform.ts';
import { narrowed } from '../store/keep.ts';
import type { Store } from '../store/store.ts';
import { type ImageContents, type PlatformImage, platformOf, readContents, selectPlatforms } from './contents.ts';

/** What the name stands for. Throws `not-found` for an unknown one. */
export async function findImage(store: Store, ref: string): Promise<Descriptor> {
  const descriptor = await store.resolve(ref);
  if (descriptor) return descriptor;
  const known = (await store.images()).map((image) => image.ref);
  throw new KinaError('not-found', `image not found: ${ref} is not in the store ${store.root}`, {
    hint: known.length ? 'Name one of these.' : 'Build one with `kina build node-image`.',
    details: known,
  });
}

/** The image's contents. Throws `not-found` for an unknown name, `store` for a damaged image. */
export async function openImage(store: Store, ref: string): Promise<ImageContents> {
  return readContents(store, await findImage(store, ref));
}

/** `linux/arm64/v8`: what the index says, else the config. */
export function nameOf(image: PlatformImage): string {
  return platformName(platformOf(image));
}

/** The best match for each of these platforms; all if none is given. Throws `platform` with the available platforms. */
export function choosePlatforms(
  ref: string,
  contents: ImageContents,
  wanted: readonly Platform[] | undefined,
): PlatformImage[] {
  return selectPlatforms(ref, contents.platforms, wanted);
}

/** An index with these platforms only; the image's own descriptor when they are all it has. */
export async function narrowImage(
  store: Store,
  contents: ImageContents,
  platforms: readonly PlatformImage[],
): Promise<Descriptor> {
  if (platforms.length === contents.platforms.length) return contents.descriptor;
  const blobs = new Map(platforms.map(({ descriptor }) => [descriptor.digest, descriptor.size]));
  return narrowed(store, { ...contents, platforms, blobs });
}
