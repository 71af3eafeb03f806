/** `kina pull`: an image from a registry into the store, all of it or some platforms, under its name. */
import type { Descriptor } from '../../oci/descriptor.ts';
import type { Platform } from '../../oci/platform.ts';
import { registryImage } from '../../oci/registry/image.ts';
import { keepImage } from '../../oci/store/keep.ts';
import type { Session } from '../../session/session.ts';

/**
 * The descriptor of the image, named `name` in the store. With `platforms` it is an index of these alone, as `kina image
 * save --platform` makes it. Throws `platform` when the image lacks one, and what reading a registry throws.
 */
export async function pullImage(
  ref: string,
  name: string,
  platforms: readonly Platform[] | undefined,
  { store, transport, fetcher, reporter, signal }: Session,
): Promise<Descriptor> {
  const image = await registryImage(ref, { transport, signal, keep: { store, fetcher } });
  const { root } = await keepImage(store, image, platforms, ({ parts }) =>
    reporter.expect(
      'fetch',
      parts.length,
      parts.reduce((total, { size }) => total + size, 0),
    ),
  );
  await store.tag(name, root);
  return root;
}
