/** `kina push` and `kina build node-image --push`: an image of the store to registries, its layers compressed on the way. */
import { KinaError } from '../../host/errors.ts';
import type { Transport } from '../../host/http.ts';
import type { Reporter } from '../../host/progress.ts';
import type { Descriptor } from '../../oci/descriptor.ts';
import { readContents } from '../../oci/image/contents.ts';
import { type LayerForm, recompressImage } from '../../oci/recompress.ts';
import { formatReference, type ImageReference } from '../../oci/reference.ts';
import { Push, type PushResult } from '../../oci/registry/push.ts';
import { storeImage } from '../../oci/store/image.ts';
import type { Store } from '../../oci/store/store.ts';

export interface Published {
  /** Of the image in the registries. */
  readonly root: Descriptor;
  /** `REF@sha256:…`, in the order asked for. */
  readonly references: readonly string[];
  readonly pushed: PushResult;
}

/** `image` is of the store. Throws what `pushImage` throws, and `store` for a damaged image. */
export async function publishImage(
  image: Descriptor,
  references: readonly ImageReference[],
  form: LayerForm,
  tools: { store: Store; transport: Transport; reporter: Reporter; signal?: AbortSignal | undefined },
): Promise<Published> {
  const { store, reporter } = tools;
  const contents = await readContents(store, image);
  const stop = new AbortController();
  const signal = tools.signal ? AbortSignal.any([tools.signal, stop.signal]) : stop.signal;
  const push = new Push({ ...tools, signal, image: storeImage(store, image), references });
  const making = recompressImage(store, contents, { form, reporter, signal, ready: (layer) => push.early(layer) });
  try {
    // A layer is uploaded while others are compressed. One that cannot be uploaded stops everything.
    const root = await Promise.race([making, push.failed]);
    const pushed = await push.finish(root);
    return { root, pushed, references: references.map((to) => formatReference({ ...to, digest: root.digest })) };
  } catch (error) {
    stop.abort(new KinaError('interrupted', 'another layer failed'));
    await Promise.allSettled([making, push.abandon()]);
    throw tools.signal?.aborted ? tools.signal.reason : error;
  }
}
