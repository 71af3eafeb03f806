/** Opens the image at a place that people name. */
import { selectImage } from '../../oci/archive/oci.ts';
import { openArchive } from '../../oci/archive/open.ts';
import type { Image } from '../../oci/image/image.ts';
import { registryImage } from '../../oci/registry/image.ts';
import type { Session } from '../../session/session.ts';
import type { Location } from './location.ts';

/**
 * What is read from a registry is kept in the store. Throws `not-found`, `network`, `integrity`, `archive`; `usage` when a
 * layout or archive contains several images and the location names none.
 */
export async function openLocation(
  location: Location,
  { store, transport, fetcher, signal }: Pick<Session, 'store' | 'transport' | 'fetcher' | 'signal'>,
): Promise<Image> {
  if (location.type === 'registry') return registryImage(location.ref, { transport, signal, keep: { store, fetcher } });
  return selectImage(await openArchive(store, location.path), location.name);
}
