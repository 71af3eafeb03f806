/**
 * Preloaded images with compressed layers. The archives of a release contain uncompressed layers, 300 MB of a node; zstd
 * makes it a third. The image id (the config's digest) stays, because the config names uncompressed layers; kina writes a new
 * manifest. containerd reads zstd since 1.5.
 *
 * The bytes depend on the compressor, so its version is pinned with the step. A different one is an error.
 */
import { KinaError } from '../../host/errors.ts';
import { canonicalJson } from '../../host/json.ts';
import { compressLayer, compressorOf } from '../../oci/compress.ts';
import { type Descriptor, mediaType } from '../../oci/descriptor.ts';
import { type PlatformImage, readContents } from '../../oci/image/contents.ts';
import type { NamedManifest } from '../../oci/output/preload.ts';
import type { TreeContext } from '../step.ts';

/** The pinned compressor: `zstd 1.5.7`. */
export const compressorName = compressorOf({ kind: 'zstd' });

/** The same images with zstd layers. Throws `lock` when a different compressor was pinned. */
export async function compressPreloads(
  images: readonly NamedManifest[],
  compressor: string | undefined,
  { store, reporter, owner }: TreeContext,
): Promise<NamedManifest[]> {
  if (compressor !== compressorName)
    throw new KinaError('lock', `${owner}: locked with ${compressor}, this Node.js has ${compressorName}`, {
      hint: 'Compressed bytes would differ. Build with the Node.js of the lock, or run `kina lock` again.',
    });
  const task = reporter.task('compress', owner);
  try {
    const compressed: NamedManifest[] = [];
    for (const { name, manifest: pinned } of images) {
      const { manifest: image } = (await readContents(store, pinned)).platforms[0] as PlatformImage;
      const layers: Descriptor[] = [];
      // One after the other: images of a release share layers, and the second finds what the first has made.
      for (const { mediaType: type, digest, size } of image.layers)
        layers.push(
          uncompressed.has(type)
            ? await compressLayer(store, { mediaType: mediaType.layer, digest, size }, { kind: 'zstd' })
            : { mediaType: type, digest, size },
        );
      const { digest, size } = image.config;
      const config = { mediaType: mediaType.config, digest, size };
      const manifest = { schemaVersion: 2, mediaType: mediaType.manifest, config, layers };
      const written = await store.writeBytes(Buffer.from(canonicalJson(manifest)));
      const { platform } = pinned;
      compressed.push({ name, manifest: { mediaType: mediaType.manifest, ...written, platform } });
    }
    task.done();
    return compressed;
  } catch (error) {
    task.fail();
    throw error;
  }
}

const uncompressed: ReadonlySet<string> = new Set([mediaType.layer, mediaType.dockerLayer]);
