/** `kina pull`: an image from a registry into the store, all of it or some platforms, under its name. */
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Platform } from '../../oci/platform.ts';
import { parseReference } from '../../oci/reference.ts';
import { registryImage } from '../../oci/registry/image.ts';
import { keepImage } from '../../oci/store/keep.ts';
import type { Session } from '../../session/session.ts';

export interface PullImageOptions extends Session {
  /** Reference in a registry: `HOST/NAME:TAG`, with or without a digest. */
  readonly image: string;
  /** The result is an index of these alone, as `kina image save --platform` makes it. Default: the whole image. */
  readonly platforms?: readonly Platform[] | undefined;
}

export interface PulledImage {
  /** Name in the store. */
  readonly name: string;
  readonly root: Descriptor;
}

/** Throws `platform` when the image lacks one, `not-found`, `network`, and `integrity` for bytes that are not the digest's. */
export async function pullImage(options: PullImageOptions): Promise<PulledImage> {
  const { image: reference, platforms, store, transport, fetcher, reporter, signal } = options;
  // The store keeps tags without a digest, which would be wrong as soon as the tag moves.
  const name = parseReference(reference).tag === undefined ? reference : reference.replace(/@.*$/, '');
  const image = await registryImage(reference, { transport, signal, keep: { store, fetcher } });
  const { root } = await keepImage(store, image, platforms, ({ parts }) =>
    reporter.expect(
      'fetch',
      parts.length,
      parts.reduce((total, { size }) => total + size, 0),
    ),
  );
  await store.tag(name, root);
  return { name, root };
}
