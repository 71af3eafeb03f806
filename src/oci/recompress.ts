/**
 * The same image with a different compression of its layers: different blobs and manifests, the same configs. A config names
 * layers by their uncompressed form, so the image id is unchanged.
 */
import { availableParallelism } from 'node:os';
import pLimit from 'p-limit';
import { canonicalJson } from '../host/json.ts';
import type { Reporter } from '../host/progress.ts';
import { type Compression, compressLayer, uncompressedLayer } from './compress.ts';
import { type Descriptor, type Digest, mediaType } from './descriptor.ts';
import type { ImageContents, PlatformImage } from './image/contents.ts';
import type { Store } from './store/store.ts';

/** `keep` compresses uncompressed layers with zstd, and does not change the others. */
export type LayerForm = Compression | 'none' | 'keep';

export interface RecompressOptions {
  readonly form: LayerForm;
  readonly reporter: Reporter;
  readonly signal?: AbortSignal | undefined;
  /** Called with each layer as soon as it has its form. */
  ready?(layer: Descriptor): void;
}

/** The descriptor of the image in that form; the same one when nothing changes. Its parts are in the store. */
export async function recompressImage(
  store: Store,
  contents: ImageContents,
  options: RecompressOptions,
): Promise<Descriptor> {
  const limit = pLimit(availableParallelism());
  const made = new Map<Digest, Promise<Descriptor>>();
  const make = async (layer: Descriptor, diffId: Digest): Promise<Descriptor> => {
    options.signal?.throwIfAborted();
    const result = await recompressLayer(store, layer, diffId, options);
    options.ready?.(result);
    return result;
  };
  const layerOf = (layer: Descriptor, diffId: Digest): Promise<Descriptor> => {
    const known = made.get(layer.digest) ?? limit(() => make(layer, diffId));
    made.set(layer.digest, known);
    return known;
  };
  const manifests = await Promise.all(contents.platforms.map((image) => recompressPlatform(store, image, layerOf)));
  if (manifests.every(({ digest }, i) => digest === contents.platforms[i]?.descriptor.digest))
    return contents.descriptor;
  if (!contents.index) return manifests[0] as Descriptor;
  const index = { ...contents.index, mediaType: mediaType.index, manifests };
  return { mediaType: mediaType.index, ...(await store.writeBytes(canonicalJson(index))) };
}

async function recompressPlatform(
  store: Store,
  { descriptor, manifest, config }: PlatformImage,
  layerOf: (layer: Descriptor, diffId: Digest) => Promise<Descriptor>,
): Promise<Descriptor> {
  const diffIds = config.rootfs.diff_ids ?? [];
  const layers = await Promise.all(manifest.layers.map((layer, i) => layerOf(layer, diffIds[i] as Digest)));
  if (layers.every(({ digest }, i) => digest === manifest.layers[i]?.digest)) return descriptor;
  const { digest, size } = manifest.config;
  const changed = {
    ...manifest,
    mediaType: mediaType.manifest,
    config: { mediaType: mediaType.config, digest, size },
    layers,
  };
  return { ...descriptor, mediaType: mediaType.manifest, ...(await store.writeBytes(canonicalJson(changed))) };
}

const compressed: Readonly<Record<string, Compression['kind']>> = {
  [mediaType.layerGzip]: 'gzip',
  [mediaType.dockerLayerGzip]: 'gzip',
  [mediaType.layerZstd]: 'zstd',
};

async function recompressLayer(
  store: Store,
  layer: Descriptor,
  diffId: Digest,
  { form, reporter, signal }: RecompressOptions,
): Promise<Descriptor> {
  const kind = compressed[layer.mediaType];
  if (form === 'keep' && kind) return layer;
  const wanted = form === 'keep' ? { kind: 'zstd' as const } : form;
  // A layer that has the form is not changed, whatever its level: its bytes may be in registries.
  if (wanted !== 'none' && kind === wanted.kind && wanted.level === undefined) return layer;
  const plain = await uncompressedLayer(store, layer, diffId);
  if (wanted === 'none') return plain;
  const task = reporter.task('compress', `${diffId.slice(7, 19)} (${wanted.kind})`);
  let known = true;
  try {
    const result = await compressLayer(store, plain, wanted, (done) => {
      signal?.throwIfAborted();
      known = false;
      task.progress(done, plain.size);
    });
    task.done(undefined, known);
    return result;
  } catch (error) {
    task.fail();
    throw error;
  }
}
