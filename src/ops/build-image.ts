/**
 * The use case of `kina build node-image`: resolve a recipe, build its image into the store, name it, write it to files,
 * push it. `kina create cluster`, `kina cri serve` and programs call the same function, so that the recipe, the
 * default name and the warnings are decided once.
 */
import { resolve } from 'node:path';
import type { BuiltPlatform } from '../build/cache.ts';
import { buildNodeImage, imageEpoch } from '../build/image.ts';
import type { Lock } from '../build/lock.ts';
import { type Plan, planArtifacts } from '../build/plan/model.ts';
import { expandTag } from '../build/plan/plan.ts';
import { type Resolved, type ResolveRequest, resolveRecipe } from '../build/resolve.ts';
import { KinaError } from '../host/errors.ts';
import { checkFileDestination } from '../host/files.ts';
import type { Reporter } from '../host/progress.ts';
import type { Compression } from '../oci/compress.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { defaultTag } from '../oci/node-conventions.ts';
import { checkDestination, type OutputType, writeOutput } from '../oci/output/output.ts';
import { hostPlatform } from '../oci/platform.ts';
import { type ImageReference, parseReference } from '../oci/reference.ts';
import { storeImage } from '../oci/store/image.ts';
import type { Session } from '../session/session.ts';
import type { PublishedImage } from './push-image.ts';
import type { Recording } from './report/record.ts';
import type { DocumentOptions } from './trust/attach.ts';

export interface ImageOutput {
  readonly type: OutputType;
  /** A path; `-` is standard output (archives only). */
  readonly dest: string;
}

/** What to build. Everything has a default: the recipe `node`, Kubernetes' newest stable release, this host's platform. */
export type ImageRequest = Partial<ResolveRequest>;

export interface BuildImageOptions extends ImageRequest, Session {
  /** `NAME:TAG`, as often as needed. Default: the recipe's own tag. */
  readonly names?: readonly string[] | undefined;
  readonly outputs?: readonly ImageOutput[] | undefined;
  /** Of the layers. Default: uncompressed. */
  readonly compression?: Compression | undefined;
  /** Build every layer again. */
  readonly noCache?: boolean | undefined;
  /** Repositories with finished images and layers of other machines. */
  readonly cacheFrom?: readonly ImageReference[] | undefined;
  /** Repositories that get what this build finishes. */
  readonly cacheTo?: readonly ImageReference[] | undefined;
  /** Path of an HTML report about the build. */
  readonly report?: string | undefined;
  /** Push the image, with these documents beside it, to the registries in `names`. */
  readonly push?: DocumentOptions | undefined;
}

export interface BuildImageResult {
  /** Names of the image in the store. */
  readonly names: readonly string[];
  /** The image: an index, also for a single platform. */
  readonly index: Descriptor;
  readonly platforms: readonly BuiltPlatform[];
  readonly plan: Plan;
  readonly lock: Lock;
  readonly published?: PublishedImage | undefined;
}

/**
 * Builds an image, or finds it built. Throws `usage` for contradicting options, before anything is fetched; `recipe`,
 * `lock`, `not-found`, `integrity` or `network` for what goes wrong later. The store keeps what was fetched and built.
 */
export async function buildImage(options: BuildImageOptions): Promise<BuildImageResult> {
  await checkBuild(options);
  const recording = options.report === undefined ? undefined : await recordingOf(options.reporter);
  const recorded = { ...options, ...(recording && { reporter: recording.reporter }) };
  const { store } = options;
  const { plan, lock } = await resolveImage(recorded);
  const names = imageNames(plan, options.names);
  warnAbout(plan, options.reporter);
  const built = await build({ plan, lock }, recorded);
  const { index } = built;
  const { rememberOrigin } = await import('./trust/origin.ts');
  await rememberOrigin(store, lock, built);
  for (const name of names) await store.tag(name, index);
  const mtime = imageEpoch(options.environment);
  for (const { type, dest } of options.outputs ?? [])
    await writeOutput({ ...recorded, image: storeImage(store, index), refs: names, dest, type, mtime });
  if (options.report !== undefined && recording) {
    const { writeReport } = await import('./report/write.ts');
    await writeReport(options.report, store, index, names[0]!, recording.tasks());
  }
  const published = options.push && (await push(index, names, options.push, recorded));
  return { names, ...built, plan, lock, published };
}

/** The plan and the lock of a build, and the names that its image would get. Nothing is fetched or built. */
export async function planImage(
  options: ImageRequest & Session & Pick<BuildImageOptions, 'names'>,
): Promise<Resolved & { names: readonly string[] }> {
  const resolved = await resolveImage(options);
  return { ...resolved, names: imageNames(resolved.plan, options.names) };
}

/** What can be wrong with the options and is known before the work. `buildImage` asks it first. Throws `usage`. */
export async function checkBuild(options: Omit<BuildImageOptions, keyof Session>): Promise<void> {
  const { platforms, names = [], outputs = [], report, push } = options;
  const places = outputs.map(({ dest }) => (dest === '-' ? dest : resolve(dest)));
  const twice = outputs.find((_, i) => places.indexOf(places[i]!) < i);
  if (twice) throw new KinaError('usage', `two outputs have the destination ${twice.dest}`);
  if (platforms && platforms.length > 1 && outputs.some(({ type }) => type === 'docker-archive'))
    throw new KinaError('usage', 'a docker-archive holds a single platform', {
      hint: 'Use type=oci-archive, or build one platform at a time.',
    });
  if (push && names.length === 0)
    throw new KinaError('usage', 'the image to push has no name, so its registry is unknown', {
      hint: 'Name it REGISTRY/NAME:TAG with --tag; repeat --tag for several registries.',
    });
  names.forEach(push ? pushReference : checkName);
  for (const { type, dest } of outputs) await checkDestination(type, dest);
  if (report !== undefined) await checkFileDestination(report, 'report');
}

/**
 * Where an image is pushed to: a name and a tag without a digest, and a registry that is not just `localhost`, which names
 * images on this machine. Throws `usage`.
 */
export function pushReference(value: string): ImageReference {
  const parsed = parseReference(value);
  if (parsed.digest !== undefined)
    throw new KinaError('usage', `cannot push to ${value}: the digest is computed from the content`, {
      hint: 'Remove @sha256:… from the name.',
    });
  if (parsed.registry === 'localhost')
    throw new KinaError('usage', `cannot push to ${value}: localhost without a port is not a registry`, {
      hint: 'Use REGISTRY/NAME:TAG. A registry on this machine needs a port: localhost:5000/NAME:TAG.',
    });
  return parsed;
}

/** Throws `usage` for a name that an engine could not load. */
function checkName(value: string): void {
  if (parseReference(value).digest !== undefined)
    throw new KinaError('usage', `${value}: an image is named by name and tag; its digest follows from its content`);
}

async function recordingOf(reporter: Reporter): Promise<Recording> {
  const { record } = await import('./report/record.ts');
  return record(reporter);
}

function resolveImage(options: ImageRequest & Session): Promise<Resolved> {
  const { recipe, source, sourceType, platforms = [hostPlatform()], set = {}, lock, strict = false } = options;
  return resolveRecipe({ recipe, source, sourceType, platforms, set, lock, strict }, options);
}

function imageNames({ image, ...plan }: Plan, names: readonly string[] = []): readonly string[] {
  if (names.length > 0) return names;
  const name = image.tag
    ? expandTag({ image, ...plan }, image.tag)
    : defaultTag(plan.recipe, plan.kubernetes ?? 'latest');
  checkName(name);
  return [name];
}

function warnAbout(plan: Plan, reporter: Reporter): void {
  for (const absent of new Set(plan.platforms.flatMap((p) => p.absent)))
    reporter.warn(`${absent} is not available upstream and is left out (--strict makes this an error)`);
  for (const url of new Set(planArtifacts(plan).flatMap((a) => (a.verifiedBy === 'none' ? [a.url] : []))))
    reporter.warn(`${url} is not verified: its publisher provides no checksum or signature`);
}

async function build(resolved: Resolved, options: BuildImageOptions) {
  const { compression, noCache = false, cacheFrom = [], cacheTo = [] } = options;
  const shared = cacheFrom.length > 0 || cacheTo.length > 0;
  const cache = shared ? (await import('./registry/cache.ts')).registryCache(cacheFrom, cacheTo, options) : undefined;
  const epoch = imageEpoch(options.environment);
  return buildNodeImage(resolved, { compression, noCache, epoch, cache }, options);
}

/** Pushes the image in the form in which it was built. */
async function push(
  root: Descriptor,
  names: readonly string[],
  documents: DocumentOptions,
  options: BuildImageOptions,
) {
  const { publish } = await import('./push-image.ts');
  const form = options.compression ? 'keep' : 'none';
  return publish(root, { ...options, ...documents, to: names.map(pushReference), form });
}
