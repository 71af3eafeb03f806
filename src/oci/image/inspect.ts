/** The images in the store as plain data, for lists, details and `--json`. */
import { KinaError } from '../../host/errors.ts';
import type { Annotations, Descriptor, Digest, ImageConfig } from '../descriptor.ts';
import type { Store } from '../store/store.ts';
import { type PlatformImage, readContents } from './contents.ts';
import { findImage, nameOf } from './select.ts';

/** One line of a list. */
export interface ImageSummary {
  readonly ref: string;
  readonly digest: Digest;
  /** For example `linux/arm64/v8`; empty when damaged. */
  readonly platforms: readonly string[];
  /** Bytes of all blobs, each counted once. Images share blobs, so sizes do not add up. */
  readonly size: number;
  /** ISO time of the newest platform. */
  readonly created: string | undefined;
  /** Why the image cannot be used; undefined when all its documents are in the store. */
  readonly damage: string | undefined;
}

interface LayerDetails {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly diffId: Digest | undefined;
  readonly createdBy: string | undefined;
}
interface PlatformDetails {
  readonly platform: string;
  readonly manifest: Descriptor;
  readonly config: Descriptor;
  readonly created: string | undefined;
  readonly entrypoint: readonly string[];
  readonly env: readonly string[];
  readonly stopSignal: string | undefined;
  /** As the config has it; undefined means root. */
  readonly user: string | undefined;
  readonly workingDir: string | undefined;
  readonly labels: Annotations;
  readonly annotations: Annotations;
  readonly layers: readonly LayerDetails[];
}
export interface ImageDetails {
  readonly ref: string;
  readonly descriptor: Descriptor;
  readonly annotations: Annotations;
  readonly platforms: readonly PlatformDetails[];
}

/** Every image, sorted by name. A damaged image is listed as damaged, so that it does not hide the others. */
export async function listImages(store: Store): Promise<ImageSummary[]> {
  const summaries: ImageSummary[] = [];
  for (const { ref, descriptor } of await store.images()) {
    try {
      const { platforms, blobs } = await readContents(store, descriptor);
      const created = platforms.flatMap(({ config }) => config.created ?? []).sort();
      summaries.push({
        ref,
        digest: descriptor.digest,
        platforms: platforms.map(nameOf),
        size: [...blobs.values()].reduce((sum, size) => sum + size, 0),
        created: created.at(-1),
        damage: undefined,
      });
    } catch (error) {
      if (!(error instanceof KinaError)) throw error;
      const { digest } = descriptor;
      summaries.push({ ref, digest, platforms: [], size: 0, created: undefined, damage: error.message });
    }
  }
  return summaries;
}

/** Everything about one image. Throws `not-found` for an unknown name. */
export async function inspectImage(store: Store, ref: string): Promise<ImageDetails> {
  const descriptor = await findImage(store, ref);
  const { index, platforms } = await readContents(store, descriptor);
  return { ref, descriptor, annotations: index?.annotations ?? {}, platforms: platforms.map(details) };
}

/** Removes a name; blobs stay until `prune`. Throws `not-found` for an unknown name. */
export async function removeImage(store: Store, ref: string): Promise<void> {
  await findImage(store, ref);
  await store.untag(ref);
}

function details(image: PlatformImage): PlatformDetails {
  const { descriptor, manifest, config } = image;
  const createdBy = layerHistory(config);
  return {
    platform: nameOf(image),
    manifest: descriptor,
    config: manifest.config,
    created: config.created,
    entrypoint: config.config?.Entrypoint ?? [],
    env: config.config?.Env ?? [],
    stopSignal: config.config?.StopSignal,
    user: config.config?.User || undefined,
    workingDir: config.config?.WorkingDir || undefined,
    labels: config.config?.Labels ?? {},
    annotations: manifest.annotations ?? {},
    layers: manifest.layers.map(({ mediaType, digest, size }, i) => ({
      mediaType,
      digest,
      size,
      diffId: config.rootfs.diff_ids?.[i],
      createdBy: createdBy[i],
    })),
  };
}

/** History without the entries that made no layer (OCI image configuration, `history`). */
function layerHistory(config: ImageConfig): (string | undefined)[] {
  return (config.history ?? []).filter((entry) => !entry.empty_layer).map((entry) => entry.created_by);
}
