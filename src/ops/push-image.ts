/** The use case of `kina push`: an image of the store to registries, with documents about it beside it. */
import type { Descriptor } from '../oci/descriptor.ts';
import { choosePlatforms, narrowImage, openImage } from '../oci/image/select.ts';
import type { Platform } from '../oci/platform.ts';
import type { LayerForm } from '../oci/recompress.ts';
import type { ImageReference } from '../oci/reference.ts';
import type { Session } from '../session/session.ts';
import { type Published, publishImage } from './registry/publish.ts';
import { type Attached, attachDocuments, type DocumentOptions } from './trust/attach.ts';

export interface PublishedImage extends Published {
  readonly documents: readonly Attached[];
}

interface PublishOptions extends DocumentOptions, Session {
  readonly to: readonly ImageReference[];
  /** How layers are compressed on the way. */
  readonly form: LayerForm;
}

export interface PushImageOptions extends DocumentOptions, Session {
  /** Name of the image in the store. */
  readonly image: string;
  readonly to: readonly ImageReference[];
  /** Compress layers on the way. Default: as they are. */
  readonly form?: LayerForm | undefined;
  /** Default: all that the image has. */
  readonly platforms?: readonly Platform[] | undefined;
}

/** Throws `not-found` for an unknown image, `platform` for one it lacks, `network` or `auth` for what a registry refuses. */
export async function pushImage(options: PushImageOptions): Promise<PublishedImage> {
  const { store, image, platforms, form = 'keep' } = options;
  const contents = await openImage(store, image);
  const root = await narrowImage(store, contents, choosePlatforms(image, contents, platforms));
  return publish(root, { ...options, form });
}

/** `root` is an image in the store. */
export async function publish(root: Descriptor, options: PublishOptions): Promise<PublishedImage> {
  const { to, form, sbom = false, provenance = false, signer } = options;
  const upload = { ...options, transport: options.uploads };
  const published = await publishImage(root, to, form, upload);
  const documents = await attachDocuments(published.root, to, { sbom, provenance, signer }, upload);
  return { ...published, documents };
}
