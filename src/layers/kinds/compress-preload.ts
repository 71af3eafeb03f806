/**
 * Preloaded images with compressed layers. Archives of a release hold them uncompressed, 300 MB of a node; as zstd they
 * take a third. The image id (the config's digest) stays, for it names uncompressed layers; the manifest becomes one of
 * kina's own. containerd reads zstd since 1.5.
 *
 * The bytes depend on the compressor, so its version is pinned with the step: another one is told, not used silently.
 */
import { KinaError } from '../../host/errors.ts';
import { canonicalJson } from '../../host/json.ts';
import { compressLayer, compressorOf } from '../../oci/compress.ts';
import { type Descriptor, mediaType } from '../../oci/descriptor.ts';
import type { Preload } from '../../oci/image/preload.ts';
import type { TreeContext } from '../step.ts';

/** What is pinned: `zstd 1.5.7`. */
export const compressorName = compressorOf({ kind: 'zstd' });

/** The same images with zstd layers. Throws `lock` when another compressor was pinned. */
export async function compressPreloads(
  images: readonly Preload[],
  pinned: string | undefined,
  { store, reporter, owner }: TreeContext,
): Promise<Preload[]> {
  if (pinned !== compressorName)
    throw new KinaError('lock', `${owner}: locked with ${pinned}, this Node.js has ${compressorName}`, {
      hint: 'Compressed bytes would differ. Build with the Node.js of the lock, or run `kina lock` again.',
    });
  const task = reporter.task('compress', owner);
  try {
    const compressed: Preload[] = [];
    for (const image of images) {
      const layers: Descriptor[] = [];
      // One after the other: images of a release share layers, and the second finds what the first has made.
      for (const layer of image.layers)
        layers.push(
          uncompressed.has(layer.mediaType)
            ? await compressLayer(store, { ...layer, mediaType: mediaType.layer }, { kind: 'zstd' })
            : layer,
        );
      const config = { ...image.config, mediaType: mediaType.config };
      const manifest = { schemaVersion: 2, mediaType: mediaType.manifest, config, layers };
      const written = await store.writeBytes(Buffer.from(canonicalJson(manifest)));
      const { platform } = image.manifest;
      compressed.push({
        ...image,
        config,
        layers,
        manifest: { mediaType: mediaType.manifest, ...written, ...(platform ? { platform } : {}) },
      });
    }
    task.done();
    return compressed;
  } catch (error) {
    task.fail();
    throw error;
  }
}

const uncompressed: ReadonlySet<string> = new Set([mediaType.layer, mediaType.dockerLayer]);
