/**
 * The lock: the pins of a plan as a file to commit. One line per artifact, sorted, so that a diff names the package or binary
 * that changed. It has canonical upstream addresses only, so it is the same behind every mirror.
 */
import { z } from 'zod';
import { type Artifact, artifactTypes } from '../artifacts/artifact.ts';
import { KinaError } from '../host/errors.ts';
import { digestOf } from '../host/json.ts';
import { SOURCE_TYPES } from '../layers/kubernetes/model.ts';
import { noPins, type Pins, pinnedArtifacts } from '../layers/step.ts';
import type { Digest } from '../oci/descriptor.ts';
import { formatPlatform } from '../oci/platform.ts';
import { fromVersion1 } from './lock-version1.ts';
import type { Locked, Plan, PlannedLayer, PlatformPlan } from './plan/model.ts';
import { recipeName } from './recipe/schema.ts';

const digest = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/)
  .transform((d) => d as Digest);
const artifactSchema = z.strictObject({
  type: z.enum(artifactTypes),
  name: z.string(),
  version: z.string().optional(),
  url: z.string(),
  size: z.int().min(0),
  digest,
  verifiedBy: z.string(),
  fallbacks: z.array(z.string()).optional(),
});
const stepSchema = z.strictObject({
  step: digest,
  components: z.record(z.string(), z.string()).optional(),
  inputs: z.record(z.string(), z.string()).optional(),
  notes: z.record(z.string(), z.string()).optional(),
  absent: z.array(z.string()).optional(),
  artifacts: z.array(artifactSchema).optional(),
  images: z
    .array(
      z.strictObject({
        name: z.string(),
        manifest: artifactSchema,
        config: artifactSchema,
        layers: z.array(artifactSchema),
      }),
    )
    .optional(),
  base: z.strictObject({ name: z.string(), manifest: digest, layers: z.array(artifactSchema) }).optional(),
});
export type LockedStep = z.infer<typeof stepSchema>;
const lockSchema = z.strictObject({
  version: z.literal(2),
  recipe: recipeName,
  kubernetes: z.string().optional(),
  /** What kind of source Kubernetes comes from. */
  source: z.enum(SOURCE_TYPES).optional(),
  variables: z.record(z.string(), z.string()),
  /** By platform, see `settingsDigest`. */
  settings: z.record(z.string(), digest).optional(),
  platforms: z.record(z.string(), z.record(z.string(), stepSchema)),
});
export type Lock = z.infer<typeof lockSchema>;

/** The plan's pins. Variables that describe the platform or come from the version table are left out. */
export function lockOf(plan: Plan, set: Readonly<Record<string, string>>): Lock {
  const platforms: Lock['platforms'] = {};
  const settings: NonNullable<Lock['settings']> = {};
  for (const planned of plan.platforms) {
    const name = formatPlatform(planned.platform);
    platforms[name] = Object.fromEntries(lockedSteps(planned.layers, ''));
    settings[name] = settingsDigest(plan, planned);
  }
  return {
    version: 2,
    recipe: plan.recipe,
    ...(plan.kubernetes ? { kubernetes: plan.kubernetes } : {}),
    ...(plan.source ? { source: plan.source } : {}),
    variables: { ...set },
    settings,
    platforms,
  };
}

/**
 * The digest of what a recipe says around its steps and what therefore decides an image too: the order of layers and steps,
 * the description, and the image settings in the order in which they are written (environment variables keep it).
 */
export function settingsDigest(plan: Plan, { layers }: PlatformPlan): Digest {
  const settings = (p: Plan, l: readonly PlannedLayer[]): unknown => ({
    recipe: p.recipe,
    description: p.description,
    image: JSON.stringify(p.image),
    steps: l.flatMap(({ steps }) =>
      steps.map(({ id, inner }) => [id, inner ? inner.platforms.map((of) => settings(inner, of.layers)) : null]),
    ),
  });
  return digestOf(settings(plan, layers));
}

/** A step that carries an image is followed by the steps of that image. */
function lockedSteps(layers: readonly PlannedLayer[], prefix: string): [string, LockedStep][] {
  return layers.flatMap(({ steps }) =>
    steps.flatMap(({ id, digest: step, pins, inner }): [string, LockedStep][] => [
      [`${prefix}${id}`, stepSchema.parse({ step, ...withoutEmpty(pins) })],
      ...(inner?.platforms ?? []).flatMap((p) => lockedSteps(p.layers, `${prefix}${id}/`)),
    ]),
  );
}

function withoutEmpty(pins: Pins): Partial<Pins> {
  return Object.fromEntries(
    Object.entries(pins).filter(([, value]) => value !== undefined && Object.keys(value).length > 0),
  );
}

/**
 * What a lock pins, without remarks, second addresses and what is only compared with the recipe. It has the form of the
 * first version of locks, because the label of every image has its digest: the file's form may change, the label must not.
 */
function canonicalLock({ recipe, kubernetes, variables, platforms }: Lock): unknown {
  return {
    version: 1,
    recipe,
    ...(kubernetes === undefined ? {} : { kubernetes }),
    variables,
    platforms: mapValues(platforms, (steps) => mapValues(steps, canonicalStep)),
  };
}

function canonicalStep(locked: LockedStep): unknown {
  const { step, components, absent, images = [], base } = locked;
  const inputs = {
    ...locked.inputs,
    ...Object.fromEntries(images.map(({ name, manifest }) => [name, manifest.digest])),
    ...(base ? { manifest: base.manifest } : {}),
  };
  const artifacts = pinnedArtifacts(pinsOf(locked))
    .map(({ type: _, fallbacks: __, ...artifact }) => artifact)
    .sort((a, b) => compare(a.name, b.name) || compare(a.url, b.url));
  return JSON.parse(
    JSON.stringify({
      step,
      components,
      inputs: Object.keys(inputs).length > 0 ? inputs : undefined,
      absent,
      artifacts: artifacts.length > 0 ? artifacts : undefined,
    }),
  );
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function mapValues<T, U>(record: Readonly<Record<string, T>>, change: (value: T) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]));
}

/** The lock's identity, for labels and cache keys. It does not depend on the file's layout, form and remarks. */
export function lockDigest(lock: Lock): Digest {
  return digestOf(canonicalLock(lock));
}

/** All artifacts of all platforms. One that several steps need is listed several times. */
export function lockedArtifacts({ platforms }: Pick<Lock, 'platforms'>): Artifact[] {
  return Object.values(platforms).flatMap((steps) =>
    Object.values(steps).flatMap((step) => pinnedArtifacts(pinsOf(step))),
  );
}

/** A lock that was stored as data. One of version 1 is converted. Throws `lock`. */
export function lockFrom(value: unknown, from: string): Lock {
  const parsed = lockSchema.safeParse(fromVersion1(value, from));
  if (parsed.success) return parsed.data;
  throw notALock(
    from,
    parsed.error.issues.map((i) => `${i.path.join('.')}: ${i.message}`),
  );
}

export function notALock(from: string, problems: readonly string[]): KinaError {
  return new KinaError('lock', `${from} is not a lock of this version of kina`, {
    details: problems.slice(0, 20),
    hint: 'Write it again with `kina lock`.',
  });
}

/** The part that decides one platform's image; its digest is the label of that image. */
export function platformLock(lock: Lock, platform: string): Lock {
  return { ...lock, platforms: { [platform]: lock.platforms[platform] ?? {} } };
}

function pinsOf(step: LockedStep): Pins {
  return {
    artifacts: step.artifacts ?? [],
    images: step.images ?? [],
    base: step.base,
    components: step.components ?? {},
    inputs: step.inputs ?? {},
    notes: step.notes ?? {},
    absent: step.absent ?? [],
  };
}

/** Reuses what was resolved last, without a lock: a step that differs is resolved again. */
export function fromLast(lock: Lock): Locked {
  return (platform, id, wanted) => {
    const step = lock.platforms[platform]?.[id];
    return step?.step === wanted ? pinsOf(step) : undefined;
  };
}

/**
 * Throws `lock` if the lock is for a different recipe, version or platform. Call it before using the pins: with a different
 * recipe, they cause obscure errors.
 */
export function checkLock(
  { recipe, kubernetes, platforms }: Lock,
  path: string,
  wanted: { recipe: string; kubernetes: string | undefined; platforms: readonly string[] },
): void {
  const problems: string[] = [];
  if (wanted.recipe !== recipe) problems.push(`the lock is for recipe ${recipe}, this is ${wanted.recipe}`);
  if (wanted.kubernetes !== kubernetes)
    problems.push(
      `the lock is for Kubernetes ${kubernetes ?? 'none'}, but ${wanted.kubernetes ?? 'none'} is requested`,
    );
  for (const platform of wanted.platforms)
    if (!platforms[platform])
      problems.push(`${platform}: not in the lock, which is for ${Object.keys(platforms).join(', ') || 'no platform'}`);
  if (problems.length > 0) throw disagreement(path, problems);
}

function disagreement(path: string, details: readonly string[]): KinaError {
  return new KinaError('lock', `${path} and the recipe disagree`, {
    details,
    hint: 'Run `kina lock` again and review the difference, or build without --locked.',
  });
}

/**
 * Answers from the lock, which `checkLock` has found to be the right one; everything that recipe and lock disagree about is
 * collected and thrown by `finish`, so that the person sees all of it.
 */
export function fromLock(lock: Lock, path: string): { locked: Locked; finish(plan: Plan): void } {
  const problems: string[] = [];
  const seen = new Map<string, Set<string>>();
  const locked: Locked = (platform, id, wanted): Pins | undefined => {
    const ids = seen.get(platform) ?? new Set();
    seen.set(platform, ids.add(id));
    const step = lock.platforms[platform]?.[id];
    if (!step) problems.push(`${platform} ${id}: in the recipe, not in the lock`);
    else if (step.step !== wanted)
      problems.push(`${platform} ${id}: the step in the recipe differs from the locked one`);
    return step ? pinsOf(step) : noPins;
  };
  const finish = (plan: Plan): void => {
    for (const [platform, ids] of seen)
      for (const id of Object.keys(lock.platforms[platform] ?? {}))
        if (!ids.has(id)) problems.push(`${platform} ${id}: in the lock, not in the recipe`);
    // Other steps are another order as well: that needs no second message. Locks of old have nothing to compare with.
    if (problems.length === 0)
      for (const planned of plan.platforms) {
        const platform = formatPlatform(planned.platform);
        const locked = lock.settings?.[platform];
        if (locked !== undefined && locked !== settingsDigest(plan, planned))
          problems.push(
            `${platform}: the recipe's description, image settings or order of steps are not the locked ones`,
          );
      }
    if (problems.length > 0) throw disagreement(path, problems);
  };
  return { locked, finish };
}
