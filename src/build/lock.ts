/**
 * The lock: the plan's pins as a file that people commit. One line per artifact, sorted, so that a diff says which
 * package or binary changed; canonical upstream addresses only, so that it is worth the same behind any mirror.
 */
import { readFile } from 'node:fs/promises';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { isErrno, KinaError } from '../host/errors.ts';
import { atomicWrite } from '../host/files.ts';
import { digestOf } from '../host/json.ts';
import { noPins, type Pins } from '../layers/step.ts';
import type { Digest } from '../oci/descriptor.ts';
import { formatPlatform } from '../oci/platform.ts';
import type { Locked, Plan, PlannedLayer, PlatformPlan } from './plan/model.ts';
import { recipeName } from './recipe/schema.ts';

const digest = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/)
  .transform((d) => d as `sha256:${string}`);
const artifactSchema = z.strictObject({
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
});
type LockedStep = z.infer<typeof stepSchema>;
const lockSchema = z.strictObject({
  version: z.literal(1),
  recipe: recipeName,
  kubernetes: z.string().optional(),
  variables: z.record(z.string(), z.string()),
  images: z.record(z.string(), digest).optional(),
  platforms: z.record(z.string(), z.record(z.string(), stepSchema)),
});
export type Lock = z.infer<typeof lockSchema>;

/** The plan's pins. Variables that only describe the platform or come from the version table are left out. */
export function lockOf(plan: Plan, set: Readonly<Record<string, string>>): Lock {
  const platforms: Lock['platforms'] = {};
  const images: NonNullable<Lock['images']> = {};
  for (const planned of plan.platforms) {
    const steps: Lock['platforms'][string] = {};
    addSteps(planned.layers, '', steps);
    const name = formatPlatform(planned.platform);
    platforms[name] = steps;
    images[name] = frameDigest(plan, planned);
  }
  return {
    version: 1,
    recipe: plan.recipe,
    ...(plan.kubernetes ? { kubernetes: plan.kubernetes } : {}),
    variables: { ...set },
    images,
    platforms,
  };
}

/**
 * The digest of what a recipe says around the steps, and so decides an image with them: the order of layers and steps,
 * the description, and the settings in the order in which they are written (environment variables keep it).
 */
export function frameDigest(plan: Plan, { layers }: PlatformPlan): Digest {
  const frame = (p: Plan, l: readonly PlannedLayer[]): unknown => ({
    recipe: p.recipe,
    description: p.description,
    image: JSON.stringify(p.image),
    steps: l.flatMap(({ steps }) =>
      steps.map(({ id, inner }) => [id, inner ? inner.platforms.map((of) => frame(inner, of.layers)) : null]),
    ),
  });
  return digestOf(frame(plan, layers));
}

/** A step that carries an image is followed by the steps of that image, which have its artifacts. */
function addSteps(layers: readonly PlannedLayer[], prefix: string, steps: Lock['platforms'][string]): void {
  for (const step of layers.flatMap((l) => l.steps)) {
    const { components, inputs, notes, absent } = step.pins;
    const artifacts = step.inner ? [] : step.pins.artifacts;
    steps[`${prefix}${step.id}`] = {
      step: step.digest,
      ...(Object.keys(components).length ? { components: { ...components } } : {}),
      ...(Object.keys(inputs).length ? { inputs: { ...inputs } } : {}),
      ...(Object.keys(notes).length ? { notes: { ...notes } } : {}),
      ...(absent.length ? { absent: [...absent] } : {}),
      ...(artifacts.length ? { artifacts: artifacts.map((a) => artifactSchema.parse(a)) } : {}),
    };
    for (const platform of step.inner?.platforms ?? []) addSteps(platform.layers, `${prefix}${step.id}/`, steps);
  }
}

/** What of a lock pins: everything but remarks, second addresses and what recipes are only compared with. */
function canonicalLock({ images: _compared, ...pinning }: Lock): unknown {
  const remarks = ['notes', 'fallbacks'];
  return JSON.parse(JSON.stringify(pinning, (key, value) => (remarks.includes(key) ? undefined : value)));
}

/** The lock's identity, for labels and cache keys: independent of the file's spelling and of its remarks. */
export function lockDigest(lock: Lock): string {
  return digestOf(canonicalLock(lock));
}

/** YAML with a fixed layout: blocks for steps, one flow-style line per artifact. */
export function formatLock(lock: Lock): string {
  const lines = [
    '# Pinned by `kina lock`. Commit this file; to change it, run `kina lock` again.',
    `version: ${lock.version}`,
    `recipe: ${scalar(lock.recipe)}`,
  ];
  if (lock.kubernetes) lines.push(`kubernetes: ${scalar(lock.kubernetes)}`);
  lines.push(`variables: ${flow(lock.variables)}`);
  if (lock.images) {
    lines.push('images:');
    for (const [platform, image] of sorted(lock.images)) lines.push(`  ${scalar(platform)}: ${image}`);
  }
  lines.push('platforms:');
  for (const [platform, steps] of sorted(lock.platforms)) {
    lines.push(`  ${scalar(platform)}:`);
    for (const [id, step] of Object.entries(steps)) {
      lines.push(`    ${scalar(id)}:`, `      step: ${step.step}`);
      if (step.components) lines.push(`      components: ${flow(step.components)}`);
      for (const part of ['inputs', 'notes'] as const) {
        const values = step[part];
        if (!values) continue;
        lines.push(`      ${part}:`);
        for (const [name, value] of sorted(values)) lines.push(`        ${scalar(name)}: ${scalar(value)}`);
      }
      if (step.absent) lines.push(`      absent: [${step.absent.map(scalar).join(', ')}]`);
      if (step.artifacts) {
        lines.push('      artifacts:');
        for (const a of [...step.artifacts].sort((x, y) =>
          x.name < y.name ? -1 : x.name > y.name ? 1 : x.url < y.url ? -1 : 1,
        ))
          lines.push(
            `        - ${flow({ name: a.name, version: a.version, url: a.url, size: a.size, digest: a.digest, verifiedBy: a.verifiedBy, fallbacks: a.fallbacks })}`,
          );
      }
    }
  }
  return `${lines.join('\n')}\n`;
}

function sorted<T>(record: Readonly<Record<string, T>>): [string, T][] {
  return Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1));
}

function flow(record: Readonly<Record<string, unknown>>): string {
  const parts = Object.entries(record).flatMap(([k, v]) =>
    v === undefined
      ? []
      : [
          `${k}: ${Array.isArray(v) ? `[${v.map((i) => scalar(String(i))).join(', ')}]` : typeof v === 'number' ? v : scalar(String(v))}`,
        ],
  );
  return parts.length ? `{ ${parts.join(', ')} }` : '{}';
}

/** Plain where YAML reads the same string back in flow and block context, else in double quotes. */
function scalar(value: string): string {
  return /^[A-Za-z/][A-Za-z0-9_./:+~@=-]*$/.test(value) &&
    !value.endsWith(':') &&
    !/^(true|false|null|yes|no|on|off|y|n)$/i.test(value)
    ? value
    : JSON.stringify(value);
}

export async function readLock(path: string): Promise<Lock> {
  const text = await readFile(path, 'utf8').catch((error) => {
    if (isErrno(error, 'ENOENT'))
      throw new KinaError('lock', `no lock file ${path}`, {
        hint: 'Make one with `kina lock`, or name it with --lock FILE.',
        cause: error,
      });
    throw new KinaError('lock', `the lock ${path} cannot be read: ${(error as Error).message}`, { cause: error });
  });
  return parseLock(text, path);
}

/** `from` names it in messages. Throws `lock`. */
export function parseLock(text: string, from: string): Lock {
  const document = parseDocument(text);
  if (document.errors.length === 0) return lockFrom(document.toJS(), from);
  throw notALock(
    from,
    document.errors.map((e) => e.message.split('\n')[0]!),
  );
}

/** A lock that was kept as data. Throws `lock`. */
export function lockFrom(value: unknown, from: string): Lock {
  const parsed = lockSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw notALock(
    from,
    parsed.error.issues.map((i) => `${i.path.join('.')}: ${i.message}`),
  );
}

function notALock(from: string, problems: readonly string[]): KinaError {
  return new KinaError('lock', `${from} is not a lock of this version of kina`, {
    details: problems.slice(0, 20),
    hint: 'Make it again with `kina lock`.',
  });
}

/** The part that decides one platform's image; its digest is the label of that image. */
export function platformLock(lock: Lock, platform: string): Lock {
  return { ...lock, platforms: { [platform]: lock.platforms[platform] ?? {} } };
}

export async function writeLock(path: string, lock: Lock): Promise<void> {
  await atomicWrite(path, formatLock(lock), 0o644);
}

function pinsOf(step: LockedStep): Pins {
  return {
    artifacts: step.artifacts ?? [],
    components: step.components ?? {},
    inputs: step.inputs ?? {},
    notes: step.notes ?? {},
    absent: step.absent ?? [],
  };
}

/** Answers from what was resolved last, which nobody asked to hold to: a step that says something else is resolved. */
export function fromLast(lock: Lock): Locked {
  return (platform, id, wanted) => {
    const step = lock.platforms[platform]?.[id];
    return step?.step === wanted ? pinsOf(step) : undefined;
  };
}

/**
 * Throws `lock` when the lock is for something else: to be asked before its pins are taken, since another recipe fails with
 * them in ways that nobody understands.
 */
export function checkLock(
  { recipe, kubernetes, platforms }: Lock,
  path: string,
  wanted: { recipe: string; kubernetes: string | undefined; platforms: readonly string[] },
): void {
  const problems: string[] = [];
  if (wanted.recipe !== recipe) problems.push(`the lock is for recipe ${recipe}, this is ${wanted.recipe}`);
  if (wanted.kubernetes !== kubernetes)
    problems.push(`the lock is for Kubernetes ${kubernetes ?? 'none'}, asked for is ${wanted.kubernetes ?? 'none'}`);
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
    else if (step.step !== wanted) problems.push(`${platform} ${id}: the recipe's step is not the one that was locked`);
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
        const locked = lock.images?.[platform];
        if (locked !== undefined && locked !== frameDigest(plan, planned))
          problems.push(
            `${platform}: the recipe's description, image settings or order of steps are not the locked ones`,
          );
      }
    if (problems.length > 0) throw disagreement(path, problems);
  };
  return { locked, finish };
}
