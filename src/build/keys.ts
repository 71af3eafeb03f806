/**
 * Keys of finished work: everything that decides the result, and nothing that must be fetched first. Recipe and lock are
 * enough, so a machine with an empty store can ask a cache (`cache.ts`).
 *
 * An image's key covers the whole lock of its platform. A layer's key covers the steps of that layer: their settings, their
 * pins and the versions of their kinds. It names the outputs of these steps, not the layer's tar, which depends on the other
 * layers too; the tar is made from the outputs and compared with the entry.
 */
import { digestOf } from '../host/json.ts';
import type { Compression } from '../oci/compress.ts';
import { formatPlatform, type Platform } from '../oci/platform.ts';
import { type Lock, lockDigest, lockOf, platformLock, settingsDigest } from './lock.ts';
import { type Plan, type PlannedLayer, type PlannedStep, type PlatformPlan, stepArtifacts } from './plan/model.ts';

/** Raised when the same pins would give a different image. */
const PIPELINE_VERSION = 1;

/** What decides an image's bytes beside the plan. */
export interface ImageFormat {
  readonly compression: Compression | undefined;
  /** Seconds since the epoch for files and for `created`. */
  readonly epoch: number;
}

/** 64 hex digits. `version` is kina's: an image's labels have it. */
export function imageKey(platform: PlatformPlan, lock: Lock, plan: Plan, format: ImageFormat, version: string): string {
  const carried = platform.layers.flatMap((l) => l.steps.flatMap((step) => carriedKeys(step, format.epoch, version)));
  const { compression, epoch } = format;
  const name = formatPlatform(platform.platform);
  return digestOf({
    pipeline: PIPELINE_VERSION,
    kina: version,
    platform: name,
    // Its own part of the lock, so that building two platforms changes neither.
    lock: lockDigest(platformLock(lock, name)),
    kinds: platform.layers.flatMap((l) => l.steps.map(({ step: { kind } }) => [kind.name, kind.version])),
    settings: settingsDigest(plan, platform),
    ...(carried.length > 0 ? { carried } : {}),
    epoch,
    compression: compression ? { ...compression, node: [process.versions.zlib, process.versions.zstd] } : null,
  }).slice(7);
}

/** Of a layer that is made from artifacts. Undefined for other layers: making them is faster than asking a cache. */
export function layerKey(
  { steps }: PlannedLayer,
  platform: Platform,
  epoch: number,
  version: string,
): string | undefined {
  const plain = steps.filter(({ step }) => !step.derived);
  if (plain.every((planned) => stepArtifacts(planned).length === 0)) return undefined;
  return digestOf({
    pipeline: PIPELINE_VERSION,
    kina: version,
    platform: formatPlatform(platform),
    epoch,
    steps: plain.map((planned) => ({
      id: planned.id,
      version: planned.step.kind.version,
      says: planned.digest,
      inputs: planned.pins.inputs,
      images: planned.pins.images.map(({ name }) => name),
      absent: planned.pins.absent,
      artifacts: stepArtifacts(planned).map(({ name, version: v, url, size, digest }) => [
        name,
        v ?? null,
        url,
        size,
        digest,
      ]),
      carried: carriedKeys(planned, epoch, version),
    })),
  }).slice(7);
}

/** The keys of the image that a step carries. It is not compressed: the step decides about that. */
export function carriedKeys({ inner }: PlannedStep, epoch: number, version: string): string[] {
  if (!inner) return [];
  const lock = lockOf(inner, {});
  return inner.platforms.map((p) => imageKey(p, lock, inner, { compression: undefined, epoch }, version));
}
