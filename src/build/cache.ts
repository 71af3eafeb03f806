/**
 * The cache of finished work that the pipeline uses: whole images, which cost only their blobs, and layers, for images that
 * share some. `ops/registry/cache*.ts` implements it with a registry.
 */

import type { BuiltLayer } from '../layers/layer.ts';
import type { StepOutputs } from '../layers/step-outputs.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { formatPlatform } from '../oci/platform.ts';
import type { Written } from '../oci/store/store.ts';
import type { Session } from '../session/session.ts';
import { carriedKeys, layerKey } from './keys.ts';
import { type PlannedStep, type PlatformPlan, stepArtifacts } from './plan/model.ts';

export interface BuiltPlatform {
  readonly platform: string;
  readonly manifest: Descriptor;
  readonly layers: readonly BuiltLayer[];
  readonly components: Readonly<Record<string, string>>;
  readonly absent: readonly string[];
  readonly cached: boolean;
}

/** A layer of another machine. Its tar is in the store, and is what its digest says. */
export interface FoundLayer {
  readonly tar: Written;
  /** The files of its steps; undefined, after a warning, if they do not match the entry. */
  open(): Promise<StepOutputs | undefined>;
}

/** Nothing here throws for a cache that is wrong or down: that costs a warning, and the work is done here. */
export interface WorkCache {
  /** The image, completely in the store; undefined if the cache has none, or none that is valid. */
  findImage(key: string, platform: string): Promise<BuiltPlatform | undefined>;
  keepImage(key: string, built: BuiltPlatform): Promise<void>;
  findLayer(key: string): Promise<FoundLayer | undefined>;
  /** Whether a cache to write to lacks the layer. */
  wantsLayer(key: string): Promise<boolean>;
  keepLayer(key: string, layer: BuiltLayer, outputs: StepOutputs): Promise<void>;
}

/** Parts of a platform's plan that were found: layers by name, and steps whose image was found. */
export interface Found {
  readonly layers: ReadonlyMap<string, FoundLayer>;
  readonly carried: ReadonlySet<PlannedStep>;
}
export const nothingFound: Found = { layers: new Map(), carried: new Set() };

/**
 * Looks for every layer whose artifacts the store lacks, and for images that steps of other layers carry. With the artifacts
 * at hand, making a layer is faster than downloading it.
 */
export async function findParts(
  plan: PlatformPlan,
  epoch: number,
  cache: WorkCache,
  { store, version }: Session,
): Promise<Found> {
  const layers = new Map<string, FoundLayer>();
  const carried = new Set<PlannedStep>();
  for (const layer of plan.layers) {
    const lacking: PlannedStep[] = [];
    for (const step of layer.steps) if (!(await hasArtifacts([step], store))) lacking.push(step);
    const key = layerKey(layer, plan.platform, epoch, version);
    if (key === undefined || lacking.length === 0) continue;
    const found = await cache.findLayer(key);
    if (found) layers.set(layer.name, found);
    else
      for (const step of lacking)
        for (const inner of carriedKeys(step, epoch, version)) {
          const image = await cache.findImage(inner, formatPlatform(plan.platform));
          if (!image) continue;
          await store.putRecord('image', inner, image);
          carried.add(step);
        }
  }
  return { layers, carried };
}

/** Whether all that a finished image is made from is at hand, and some cache lacks a layer of it. */
export async function owesLayers(
  plan: PlatformPlan,
  epoch: number,
  cache: WorkCache,
  { store, version }: Session,
): Promise<boolean> {
  if (
    !(await hasArtifacts(
      plan.layers.flatMap(({ steps }) => steps),
      store,
    ))
  )
    return false;
  for (const layer of plan.layers) {
    const key = layerKey(layer, plan.platform, epoch, version);
    if (key !== undefined && (await cache.wantsLayer(key))) return true;
  }
  return false;
}

/** Offers what was built. */
export async function keepLayers(
  plan: PlatformPlan,
  built: BuiltPlatform,
  outputs: StepOutputs,
  epoch: number,
  cache: WorkCache,
  version: string,
): Promise<void> {
  for (const planned of plan.layers) {
    const key = layerKey(planned, plan.platform, epoch, version);
    const layer = built.layers.find(({ name }) => name === planned.name);
    if (key === undefined || !layer || !(await cache.wantsLayer(key))) continue;
    const own = new Set(planned.steps.map(({ id }) => id));
    await cache.keepLayer(key, layer, new Map([...outputs].filter(([id]) => own.has(id))));
  }
}

async function hasArtifacts(steps: readonly PlannedStep[], store: Session['store']): Promise<boolean> {
  for (const { digest, size } of steps.flatMap(stepArtifacts)) if (!(await store.has(digest, size))) return false;
  return true;
}
