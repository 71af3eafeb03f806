/**
 * Loads the image of nodes into a runtime. The store of kina comes first, because it may have a newer build than the copy
 * in the runtime. Copies are compared by the digest of the config, which is the same in every format, or of the manifest
 * if the runtime reports that; only a different image is sent.
 */
import { Readable } from 'node:stream';
import { KinaError } from '../host/errors.ts';
import { buildIndex } from '../oci/image/build.ts';
import { type ImageContents, readContents } from '../oci/image/contents.ts';
import { choosePlatforms, narrowImage } from '../oci/image/select.ts';
import { dockerMembers, ociMembers } from '../oci/output/archive.ts';
import { tarStream } from '../oci/output/tar.ts';
import { formatPlatform, type Platform } from '../oci/platform.ts';
import { storeImage } from '../oci/store/image.ts';
import type { Store } from '../oci/store/store.ts';
import type { EngineImage, Provider } from '../provider/provider.ts';

export interface EnsureImageOptions {
  readonly provider: Provider;
  readonly store: Store;
  readonly platform: Platform;
  readonly signal: AbortSignal;
  readonly say: (note: string) => void;
}

/** Throws `platform` for an image of a different architecture, `not-found` for a missing local image. */
export async function ensureImage(reference: string, request: EnsureImageOptions): Promise<EngineImage> {
  const { provider, store, platform, signal, say } = request;
  const descriptor = await store.resolve(reference);
  const held = await provider.image(reference);
  if (descriptor) {
    const contents = await readContents(store, descriptor);
    const [image] = choosePlatforms(reference, contents, [platform]);
    const config = image!.manifest.config.digest;
    const ours = new Set<string>([config, image!.descriptor.digest]);
    if (held && ours.has(held.config)) return held;
    say(`loading into ${provider.name}`);
    await sendImage(reference, contents, request);
    return provided(reference, ours, await provider.image(reference), provider);
  }
  if (!held) {
    if (reference.startsWith('localhost/'))
      throw new KinaError('not-found', `image not found in the store of kina or in ${provider.name}: ${reference}`, {
        hint: 'Build it with `kina build node-image`. `kina image ls` lists the images in the store.',
      });
    say('pulling');
    await provider.pull(reference, formatPlatform(platform), signal);
  }
  const image = held ?? (await provider.image(reference));
  if (!image) throw new KinaError('provider', `${provider.name} pulled ${reference} but does not list it`);
  if (image.architecture !== platform.architecture)
    throw new KinaError(
      'platform',
      `${reference} is for ${image.architecture}; this machine is ${platform.architecture}`,
      {
        hint: `Remove it from ${provider.name}, or use an image for ${formatPlatform(platform)}.`,
      },
    );
  return image;
}

/** Sends one platform of an image in the store. */
async function sendImage(reference: string, contents: ImageContents, request: EnsureImageOptions): Promise<void> {
  const { provider, store, platform, signal } = request;
  const chosen = choosePlatforms(reference, contents, [platform]);
  const narrowed = await readContents(store, await narrowImage(store, contents, chosen));
  await provider.load(await archiveFor(provider, store, narrowed, reference), signal);
}

/**
 * An archive of an image with one platform, in the format of the runtime. The OCI format needs an index with a platform;
 * images that lack one get one.
 */
export async function archiveFor(
  provider: Provider,
  store: Store,
  contents: ImageContents,
  reference: string,
): Promise<Readable> {
  const described = contents.index && contents.platforms.every(({ descriptor }) => descriptor.platform);
  const indexed = async () =>
    buildIndex(
      store,
      contents.platforms.map(({ descriptor, config }) => ({ ...descriptor, platform: descriptor.platform ?? config })),
    );
  const members =
    provider.archive === 'docker-archive'
      ? await dockerMembers(store, contents, [reference])
      : ociMembers(described ? contents : await readContents(store, await indexed()), [reference]);
  return Readable.from(tarStream(storeImage(store, contents.descriptor), members), { objectMode: false });
}

function provided(
  reference: string,
  ours: ReadonlySet<string>,
  image: EngineImage | undefined,
  provider: Provider,
): EngineImage {
  if (image && ours.has(image.config)) return image;
  throw new KinaError('integrity', `${provider.name} has a different image for ${reference} after loading it`, {
    details: [`got ${image?.config ?? 'none'}`, `want ${[...ours].join(' or ')}`],
  });
}
