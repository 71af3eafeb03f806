/** One platform of an image in a registry, as artifacts: what locks pin and what is fetched. */
import { type Digest, mediaType, notAnImage } from '../descriptor.ts';
import { contentsOf, type PlatformImage } from '../image/contents.ts';
import type { Platform } from '../platform.ts';
import { repositoryUrl } from '../reference.ts';
import { type RegistryAccess, type RemoteBlob, registryImage, remoteBlob, shortName } from './image.ts';

export interface ImageArtifacts {
  /** In full: `docker.io/library/busybox:1.35`. */
  readonly reference: string;
  /** Digest that the tag stands for now: of the index where there is one, else of the manifest. */
  readonly digest: Digest;
  readonly manifest: RemoteBlob;
  readonly config: RemoteBlob;
  /** Lowest first. */
  readonly layers: readonly RemoteBlob[];
}

const layerTypes: ReadonlySet<string> = new Set([
  mediaType.layer,
  mediaType.layerGzip,
  mediaType.layerZstd,
  mediaType.dockerLayer,
  mediaType.dockerLayerGzip,
]);

/**
 * Finds the image for a platform. Throws `usage` for a malformed reference, `not-found` when the registry does not have
 * it, `platform` when it has it for other platforms only, `integrity` when documents do not match their digests, `archive`
 * when they are malformed or not a container image.
 */
export async function resolveImage(
  ref: string,
  platform: Platform,
  transport: RegistryAccess['transport'],
  options: { signal?: AbortSignal | undefined } = {},
): Promise<ImageArtifacts> {
  const image = await registryImage(ref, { transport, ...options });
  const { origin, title } = image;
  const { platforms, documents } = await contentsOf(image, [platform]);
  const { descriptor, manifest } = platforms[0] as PlatformImage;
  const unreadable = manifest.layers.find((layer) => !layerTypes.has(layer.mediaType));
  if (unreadable) throw notAnImage(title, unreadable.mediaType);
  const size = documents.find(({ digest }) => digest === descriptor.digest)?.bytes.length ?? descriptor.size;
  const isRoot = descriptor.digest === image.root.digest;
  const layers = manifest.layers.map((layer, i, all) =>
    remoteBlob(origin, { ...layer, what: `layer ${i + 1}/${all.length}` }),
  );
  return {
    reference: title,
    digest: image.root.digest,
    manifest: {
      name: `${shortName(origin)} manifest`,
      url: `${repositoryUrl(origin)}/manifests/${descriptor.digest}`,
      size,
      digest: descriptor.digest,
      verifiedBy: origin.digest ? 'the digest in the reference' : isRoot ? 'registry' : 'registry index',
    },
    config: remoteBlob(origin, { ...manifest.config, what: 'config' }),
    layers,
  };
}
