/**
 * The pipeline: plan, lock, artifacts, trees, layers, image. It orders the work and remembers what is done; it knows no
 * tar, no HTTP, no Debian.
 *
 * Three things are remembered, from coarse to fine: the image of a platform by everything that was pinned; a layer by
 * its entries (`layers/layer.ts`); an unpacked archive by its digest. So nothing changed costs the resolution, and one
 * changed step costs its layer. An image that a step carries is built, and remembered, like any other.
 */

import { availableParallelism } from 'node:os';
import pLimit from 'p-limit';
import type { Artifact } from '../artifacts/artifact.ts';
import type { Environment } from '../host/environment.ts';
import { KinaError } from '../host/errors.ts';
import { releaseMuchMemory } from '../host/memory.ts';
import { type Assembled, assemble } from '../layers/assemble.ts';
import { buildLayer } from '../layers/layer.ts';
import type { StepOutputs } from '../layers/step-outputs.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { buildImage, buildIndex, type ExecutionConfig } from '../oci/image/build.ts';
import { labels } from '../oci/node-conventions.ts';
import { formatPlatform } from '../oci/platform.ts';
import { hasImage } from '../oci/store/keep.ts';
import type { Session } from '../session/session.ts';
import {
  type BuiltPlatform,
  type Found,
  findParts,
  keepLayers,
  nothingFound,
  owesLayers,
  type WorkCache,
} from './cache.ts';
import { type ImageFormat, imageKey } from './keys.ts';
import { type Lock, lockDigest, lockOf, platformLock } from './lock.ts';
import { type Plan, type PlannedStep, type PlatformPlan, stepArtifacts } from './plan/model.ts';
import type { Resolved } from './resolve.ts';

/** Every time stamp in an image, unless SOURCE_DATE_EPOCH says otherwise: 2020-01-01T00:00:00Z. */
const DEFAULT_EPOCH = 1577836800;
/** In the year 2242: a tar header's time stamp has eleven octal digits. */
const maxTarTime = 0o77777777777;

export interface ImageOptions extends ImageFormat {
  readonly noCache: boolean;
  /** Asked for what the store lacks, and given what was built. */
  readonly cache?: WorkCache | undefined;
}

export interface BuiltNodeImage {
  readonly index: Descriptor;
  readonly platforms: readonly BuiltPlatform[];
}

/** Reads SOURCE_DATE_EPOCH; empty counts as unset (reproducible-builds.org, and a trap in CI files). */
export function imageEpoch(env: Environment): number {
  const value = env.SOURCE_DATE_EPOCH;
  if (value === undefined || value === '') return DEFAULT_EPOCH;
  const seconds = /^\d+$/.test(value) ? Number(value) : Number.NaN;
  if (!(seconds <= maxTarTime))
    throw new KinaError('usage', `SOURCE_DATE_EPOCH is ${JSON.stringify(value)}`, {
      hint: `It must be whole seconds since 1970, e.g. 1700000000 and at most ${maxTarTime}, or unset.`,
    });
  return seconds;
}

/** Builds all platforms of a plan into the store and returns the index; nothing is tagged yet. */
export async function buildNodeImage(
  { plan, lock }: Resolved,
  options: ImageOptions,
  session: Session,
): Promise<BuiltNodeImage> {
  const { cache, noCache } = options;
  const work = await Promise.all(
    plan.platforms.map(async (platform) => {
      const key = imageKey(platform, lock, plan, options, session.version);
      if (noCache) return { platform, key, found: nothingFound };
      const known = await knownImage(key, session);
      if (!cache || (known && !(await owesLayers(platform, options.epoch, cache, session))))
        return { platform, key, known, found: nothingFound };
      const image = known ? undefined : await cache.findImage(key, formatPlatform(platform.platform));
      if (!image) return { platform, key, found: await findParts(platform, options.epoch, cache, session) };
      await session.store.putRecord('image', key, image);
      return { platform, key, known: image, found: nothingFound };
    }),
  );
  const missing = work.filter((w) => !w.known);
  if (missing.length > 0) releaseMuchMemory();
  // Everything is asked for at once; steps then wait for what they need. A failure reaches the step that needs it.
  const needed = neededArtifacts(missing);
  await announce(needed, session);
  const prefetch = Promise.allSettled(needed.length === 0 ? [] : [session.fetcher.fetchAll(needed)]);
  if (session.offline) {
    const [outcome] = await prefetch;
    if (outcome?.status === 'rejected') throw outcome.reason;
  }
  const platforms: BuiltPlatform[] = [];
  // One platform after the other: memory stays flat, and the second reuses what both share. A failure is reported at
  // once; the caller cancels downloads that are no longer needed.
  for (const { platform, key, known, found } of work) {
    let built = known;
    if (!built) {
      const made = await buildPlatform({ platform, found, lock, plan }, options, session);
      built = made.built;
      await session.store.putRecord('image', key, built);
      if (cache && made.outputs) await keepLayers(platform, built, made.outputs, options.epoch, cache, session.version);
    }
    await cache?.keepImage(key, built);
    platforms.push(built);
  }
  await prefetch;
  const index = await buildIndex(
    session.store,
    platforms.map((p) => p.manifest),
    imageAnnotations(plan),
  );
  return { index, platforms };
}

/** A recipe for something else than a node says so in the label of the same name. */
function imageAnnotations({ image, description, kubernetes }: Plan): Record<string, string> {
  const title = 'org.opencontainers.image.title';
  return {
    [title]: image.labels?.[title] ?? 'kina node image',
    'org.opencontainers.image.description': description,
    ...(kubernetes ? { 'org.opencontainers.image.version': kubernetes } : {}),
  };
}

function neededArtifacts(work: readonly { platform: PlatformPlan; found: Found }[]): Artifact[] {
  const all = work.flatMap(({ platform, found }) =>
    platform.layers
      .filter(({ name }) => !found.layers.has(name))
      .flatMap(({ steps }) => steps.filter((step) => !found.carried.has(step)).flatMap(stepArtifacts)),
  );
  return [...new Map(all.map((a) => [a.digest, a])).values()];
}

/** Says how much will be downloaded: what the store does not have yet. */
async function announce(needed: readonly Artifact[], { store, reporter, offline }: Session): Promise<void> {
  if (offline) return;
  const there = await Promise.all(needed.map((a) => store.has(a.digest, a.size)));
  const ahead = needed.filter((_, i) => !there[i]);
  if (ahead.length > 0)
    reporter.expect(
      'fetch',
      ahead.length,
      ahead.reduce((sum, a) => sum + a.size, 0),
    );
}

/** The image that a step carries is not compressed like the one around it: the step decides about that. */
function innerOptions(options: ImageOptions): ImageOptions {
  return { ...options, compression: undefined };
}

async function knownImage(key: string, session: Session): Promise<BuiltPlatform | undefined> {
  const { store } = session;
  const record = await store.getRecord<BuiltPlatform>('image', key);
  // A prune that makes just enough room removes the blobs of an unnamed image one by one.
  if (!record || !(await hasImage(store, record.manifest))) return undefined;
  return { ...record, cached: true, layers: record.layers.map((l) => ({ ...l, cached: true, elapsed: 0 })) };
}

/** Remembered, or built: the image of the recipe that one step of an image carries. */
async function buildInner(inner: Plan, options: ImageOptions, session: Session): Promise<Descriptor> {
  const [platform] = inner.platforms;
  if (!platform) throw new KinaError('internal', `the recipe ${inner.recipe} was planned for no platform`);
  const lock = lockOf(inner, {});
  const key = imageKey(platform, lock, inner, options, session.version);
  let built = options.noCache ? undefined : await knownImage(key, session);
  if (!built) {
    const work = { platform, found: nothingFound, lock, plan: inner, prefix: `${inner.recipe}: ` };
    ({ built } = await buildPlatform(work, options, session));
    await session.store.putRecord('image', key, built);
  }
  await options.cache?.keepImage(key, built);
  return built.manifest;
}

interface PlatformWork {
  readonly platform: PlatformPlan;
  readonly found: Found;
  readonly lock: Lock;
  readonly plan: Plan;
  /** What progress says before the names of layers. */
  readonly prefix?: string;
}

/** What making one platform's image gives. `outputs` is undefined when no cache may want it. */
interface MadePlatform {
  readonly built: BuiltPlatform;
  readonly outputs: StepOutputs | undefined;
}

async function buildPlatform(work: PlatformWork, options: ImageOptions, session: Session): Promise<MadePlatform> {
  const { platform: planned, found, plan, prefix = '' } = work;
  const name = formatPlatform(planned.platform);
  const assembled = await assemblePlatform(work, options, session);
  releaseMuchMemory();
  const limit = pLimit(Math.max(2, availableParallelism()));
  const layers = await Promise.all(
    assembled.layers.map((layer) =>
      limit(() =>
        buildLayer(layer, {
          ...session,
          mtime: options.epoch,
          compression: options.compression,
          noCache: options.noCache,
          promised: found.layers.get(layer.name)?.tar,
          title: `${prefix}${layer.name} (${name})`,
        }),
      ),
    ),
  );
  const { manifest } = await buildImage(session.store, {
    platform: planned.platform,
    created: options.epoch,
    config: imageConfig(work, session.version),
    layers: layers.map(({ name: layer, diffId, descriptor }) => ({
      diffId,
      descriptor,
      history: {
        createdBy: `kina: ${layer}`,
        comment: historyOf(planned.layers.find((l) => l.name === layer)?.steps ?? []),
      },
    })),
    annotations: imageAnnotations(plan),
  });
  const { components, absent } = planned;
  const built: BuiltPlatform = { platform: name, manifest, layers, components, absent, cached: false };
  return { built, outputs: options.cache ? assembled.outputs : undefined };
}

async function assemblePlatform(
  { platform: { platform, layers }, found }: PlatformWork,
  options: ImageOptions,
  session: Session,
): Promise<Assembled> {
  const innerPlans = new Map(layers.flatMap((l) => l.steps.map((s) => [s.id, s.inner])));
  const opened = await Promise.all([...found.layers.values()].map((layer) => layer.open()));
  return assemble(layers, {
    ...session,
    platform,
    epoch: options.epoch,
    known: new Map(opened.flatMap((outputs) => [...(outputs ?? [])])),
    innerImage: async (step) => {
      const inner = innerPlans.get(step);
      if (!inner) throw new KinaError('internal', `the step ${step} carries no image`);
      return buildInner(inner, innerOptions(options), session);
    },
  });
}

function imageConfig({ platform, lock, plan }: PlatformWork, version: string): ExecutionConfig {
  const { entrypoint, env, stopSignal, user, workingDir } = plan.image;
  return {
    ...(entrypoint ? { Entrypoint: entrypoint } : {}),
    Env: Object.entries(env ?? {}).map(([name, value]) => `${name}=${value}`),
    ...(stopSignal ? { StopSignal: stopSignal } : {}),
    ...(user ? { User: user } : {}),
    ...(workingDir ? { WorkingDir: workingDir } : {}),
    Labels: imageLabels(platform, lock, plan, version),
  };
}

function historyOf(steps: readonly PlannedStep[]): string {
  return steps.map((s) => `${s.id.split('/')[1]}${s.pins.absent.length > 0 ? ' (absent)' : ''}`).join(', ');
}

function imageLabels(platform: PlatformPlan, lock: Lock, plan: Plan, version: string): Record<string, string> {
  return {
    ...plan.image.labels,
    [labels.kina]: version,
    [labels.recipe]: plan.recipe,
    [labels.lock]: lockDigest(platformLock(lock, formatPlatform(platform.platform))),
    ...(plan.kubernetes ? { [labels.kubernetes]: plan.kubernetes } : {}),
    ...(platform.absent.length > 0 ? { [labels.absent]: platform.absent.join(',') } : {}),
    ...Object.fromEntries(Object.entries(platform.components).map(([k, v]) => [labels.component(k), v])),
  };
}
