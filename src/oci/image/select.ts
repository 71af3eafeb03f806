/** Finding an image in the store by its name, and the platforms of it that somebody wants. */
import { KinaError } from '../../host/errors.ts';
import type { Descriptor, DescriptorPlatform } from '../descriptor.ts';
import { formatPlatform, type Platform } from '../platform.ts';
import type { Store } from '../store/store.ts';
import { buildIndex } from './build.ts';
import { type ImageContents, type PlatformImage, readContents } from './contents.ts';

/** What the name stands for. Throws `not-found` for an unknown one. */
export async function findImage(store: Store, ref: string): Promise<Descriptor> {
  const descriptor = await store.resolve(ref);
  if (descriptor) return descriptor;
  const known = (await store.images()).map((image) => image.ref);
  throw new KinaError('not-found', `there is no image ${ref} in the store ${store.root}`, {
    hint: known.length ? 'Name one of these.' : 'Build one with `kina build node-image`.',
    details: known,
  });
}

/** The image's documents. Throws `not-found` for an unknown name, `store` for a damaged image. */
export async function openImage(store: Store, ref: string): Promise<ImageContents> {
  return readContents(store, await findImage(store, ref));
}

/** `linux/arm64/v8` and the like. */
export function platformName({ os, architecture, variant }: DescriptorPlatform): string {
  return [os, architecture, ...(variant ? [variant] : [])].join('/');
}

/** The image's platform: what the index says, else the config. */
export function nameOf({ descriptor, config }: PlatformImage): string {
  return platformName(descriptor.platform ?? config);
}

/** The images for these platforms, all when none is named. Throws `platform` that lists what there is. */
export function choosePlatforms(
  ref: string,
  contents: ImageContents,
  wanted: readonly Platform[] | undefined,
): PlatformImage[] {
  if (!wanted) return [...contents.platforms];
  const found = contents.platforms.filter(({ config }) =>
    wanted.some(({ os, architecture }) => config.os === os && config.architecture === architecture),
  );
  const absent = wanted.filter(
    (platform) =>
      !found.some(({ config }) => config.architecture === platform.architecture && config.os === platform.os),
  );
  if (absent.length)
    throw new KinaError('platform', `${ref} has no image for ${absent.map(formatPlatform).join(', ')}`, {
      hint: `It has ${contents.platforms.map(nameOf).join(', ')}.`,
    });
  return found;
}

/**
 * An index with these platforms only: the one that a build of just these platforms makes, digest included. The image's
 * own descriptor when they are all there are.
 */
export async function narrowImage(
  store: Store,
  contents: ImageContents,
  platforms: readonly PlatformImage[],
): Promise<Descriptor> {
  if (platforms.length === contents.platforms.length) return contents.descriptor;
  return buildIndex(
    store,
    platforms.map(({ descriptor, config }) => ({ ...descriptor, platform: descriptor.platform ?? config })),
    contents.index?.annotations,
  );
}
