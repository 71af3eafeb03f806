/**
 * The history in an image's config, with the layers that its entries made. Entries without a layer (`empty_layer`) are steps
 * of other tools that changed only the config.
 */
import type { Descriptor, Digest } from '../descriptor.ts';
import type { PlatformImage } from './contents.ts';

export interface HistoryStep {
  /** ISO time, as the config says. */
  readonly created: string | undefined;
  readonly createdBy: string | undefined;
  readonly comment: string | undefined;
  /** Undefined for a step that made no layer. */
  readonly layer: ImageLayer | undefined;
}
export interface ImageLayer {
  /** Position, from 0, bottom first. */
  readonly position: number;
  /** Its name in kina's recipe; `#3` for the third layer of an image from another tool. Unique within the image. */
  readonly name: string;
  /** The recipe's steps that made it; empty for images from other tools. */
  readonly steps: readonly string[];
  readonly descriptor: Descriptor;
  /** Digest of the uncompressed tar. */
  readonly diffId: Digest;
}

/** All steps, oldest first; layers that the history does not mention come last. */
export function imageHistory({ manifest, config }: PlatformImage): HistoryStep[] {
  const layers = imageLayers({ manifest, config });
  let next = 0;
  const steps = (config.history ?? []).map(({ created, created_by, comment, empty_layer }) => ({
    created,
    createdBy: created_by,
    comment,
    layer: empty_layer ? undefined : layers[next++],
  }));
  const rest = layers
    .slice(next)
    .map((layer) => ({ created: undefined, createdBy: undefined, comment: undefined, layer }));
  return [...steps, ...rest];
}

/** The layers with their names, bottom first. */
export function imageLayers({ manifest, config }: Pick<PlatformImage, 'manifest' | 'config'>): ImageLayer[] {
  const made = (config.history ?? []).filter((entry) => !entry.empty_layer);
  const taken = new Set<string>();
  return manifest.layers.map((descriptor, position) => {
    const own = /^kina: (.+)$/.exec(made[position]?.created_by ?? '')?.[1];
    const name = own !== undefined && !taken.has(own) ? own : `#${position + 1}`;
    taken.add(name);
    return {
      position,
      name,
      steps: own === undefined ? [] : (made[position]?.comment ?? '').split(', ').filter(Boolean),
      descriptor,
      diffId: config.rootfs.diff_ids?.[position] ?? descriptor.digest,
    };
  });
}
