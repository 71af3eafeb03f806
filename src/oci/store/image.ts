/** An image in the store, and the store as a sink for images. */
import { KinaError } from '../../host/errors.ts';
import { type Descriptor, maxDocumentBytes } from '../descriptor.ts';
import type { Image } from '../image/image.ts';
import type { Store } from './store.ts';

/** `descriptor` is of an index or a manifest. Reading throws `store` for what is missing or damaged. */
export function storeImage(store: Store, descriptor: Descriptor, names: readonly string[] = []): Image {
  return {
    root: descriptor,
    names,
    title: names[0] ?? descriptor.digest,
    document: ({ mediaType, digest }) => store.readBytes(digest, maxDocumentBytes(mediaType)),
    blob: ({ digest, size }, range) => (range ? store.open(digest, range) : store.verified(digest, size)),
    async prepare(blobs) {
      for (const { digest, size, what = 'blob' } of blobs)
        if (!(await store.has(digest, size)))
          throw new KinaError('store', `${what} (${digest}) is not in the store ${store.root}, or damaged`, {
            hint: 'Build or pull the image again.',
          });
    },
    referrers: async () => [],
  };
}
