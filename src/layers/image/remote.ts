/** Brings one platform of an image in a registry into the store. Parts that are there are not fetched. */
import { Fetcher } from '../../artifacts/fetch.ts';
import type { Transport } from '../../host/http.ts';
import { silent } from '../../host/progress.ts';
import { mediaType } from '../../oci/descriptor.ts';
import { checkLayers, type PlatformImage, readContents } from '../../oci/image/contents.ts';
import type { ImageArtifacts } from '../../oci/registry/resolve.ts';
import type { Store } from '../../oci/store/store.ts';

/**
 * The image, ready to be read from the store. Throws as `Fetcher.fetch` does, and `archive` when config and manifest do not
 * agree about the layers. A download that breaks off or is cancelled goes on where it stopped when it is wanted again.
 */
export async function fetchImage(
  { manifest, config, layers, reference }: ImageArtifacts,
  { store, transport, signal }: { store: Store; transport: Transport; signal?: AbortSignal | undefined },
): Promise<PlatformImage> {
  await new Fetcher({ store, transport, reporter: silent, signal }).fetchAll([manifest, config, ...layers]);
  const { digest, size } = manifest;
  const { platforms } = await readContents(store, { mediaType: mediaType.manifest, digest, size });
  const image = platforms[0] as PlatformImage;
  checkLayers(image, reference);
  return image;
}
