/**
 * Brings the image to verify into the store. An image in a registry is read from there completely, even if the store has
 * it, because that is what other clients get.
 */
import { rm } from 'node:fs/promises';
import { Fetcher } from '../../artifacts/fetch.ts';
import { KinaError } from '../../host/errors.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { partsOf } from '../../oci/image/contents.ts';
import type { Image } from '../../oci/image/image.ts';
import { platformName } from '../../oci/platform.ts';
import type { ImageReference } from '../../oci/reference.ts';
import { registryImage } from '../../oci/registry/image.ts';
import { Store } from '../../oci/store/store.ts';
import type { Session } from '../../session/session.ts';

export interface Obtained {
  readonly descriptor: Descriptor;
  /** The location, if it is in a registry. */
  readonly origin: ImageReference | undefined;
}

/**
 * `REF` is a name in the store, otherwise in a registry; `docker://REF` is always in a registry. Throws `integrity` for
 * parts that do not match their digests, and the errors of reading a registry.
 */
export async function obtain(ref: string, tools: Session): Promise<Obtained> {
  const named = ref.replace(/^docker:\/\//, '');
  const known = named === ref ? await tools.store.resolve(ref) : undefined;
  if (known) return { descriptor: known, origin: undefined };
  const { store, transport, reporter, signal } = tools;
  // A temporary store, so that nothing comes from the existing one. The next process removes it if this one dies.
  const folder = store.temporaryPath();
  try {
    const empty = await Store.open(folder);
    const fetcher = new Fetcher({ store: empty, transport, reporter, signal });
    const image = await naming('the index or manifest of the name', () =>
      registryImage(named, { transport, signal, keep: { store: empty, fetcher } }),
    );
    const { documents, parts } = await partsOf(namingDocuments(image));
    await image.prepare(parts);
    for (const { digest, size } of [...documents, ...parts])
      if (!(await store.has(digest, size))) await store.adopt(empty.blobPath(digest), { digest, size }, true);
    return { descriptor: image.root, origin: image.origin };
  } finally {
    // Work that a failure left behind may still be writing there; the failure is the error to report.
    await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }).catch(() => {});
  }
}

/** The same image, but errors about a manifest name its platform. */
function namingDocuments(image: Image): Image {
  return {
    ...image,
    document: (descriptor) => {
      const of = descriptor.platform ? ` of ${platformName(descriptor.platform)}` : '';
      return naming(`the manifest${of}`, () => image.document(descriptor));
    },
  };
}

async function naming<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof KinaError) || error.code !== 'integrity') throw error;
    throw new KinaError('integrity', `${what} was modified`, {
      details: [error.message, ...error.details],
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      cause: error,
    });
  }
}
