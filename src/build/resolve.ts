/** Resolves a recipe to a plan and its lock. */
import { KinaError } from '../host/errors.ts';
import { digestOf } from '../host/json.ts';
import { stepKinds } from '../layers/kinds.ts';
import { openKubernetesSource } from '../layers/kubernetes/source.ts';
import type { Pins } from '../layers/step.ts';
import { formatPlatform, type Platform } from '../oci/platform.ts';
import type { Session } from '../session/session.ts';
import { checkLock, fromLast, fromLock, type Lock, lockOf } from './lock.ts';
import { readLock } from './lock-file.ts';
import { type Locked, type Plan, type PlanRequest, planArtifacts } from './plan/model.ts';
import { makePlan } from './plan/plan.ts';
import { loadRecipe } from './recipe/load.ts';
import type { Recipe } from './recipe/schema.ts';
import { versionFacts, versionRow } from './versions.ts';

export interface ResolveRequest {
  /** Name of a shipped recipe or path of a file. Default: the recipe of the lock, else `node`. */
  readonly recipe: string | undefined;
  /** Version, URL, file or folder; undefined for recipes without Kubernetes. */
  readonly source: string | undefined;
  readonly sourceType: string | undefined;
  readonly platforms: readonly Platform[];
  readonly set: Readonly<Record<string, string>>;
  /** Path of a lock to build from. */
  readonly lock: string | undefined;
  /** With `lock`: a Debian package to upgrade, with what it needs. Everything else stays as locked. */
  readonly upgrade?: string | undefined;
  readonly strict: boolean;
}

export interface Resolved {
  readonly plan: Plan;
  readonly lock: Lock;
}

/** Reads the recipe, takes every pin from upstream or the lock, and checks that they agree. */
export async function resolveRecipe(request: ResolveRequest, session: Session): Promise<Resolved> {
  const lock = request.lock === undefined ? undefined : await readLock(request.lock);
  const recipe = await loadRecipe(request.recipe ?? lock?.recipe ?? 'node');
  const task = session.reporter.task('read', recipe.name);
  try {
    const resolved = await (lock
      ? resolveLocked(request, recipe, lock, session)
      : resolveNow(request, recipe, session));
    const platforms = request.platforms.map(formatPlatform).join(', ');
    task.done(`${recipe.name} for ${platforms}: ${planArtifacts(resolved.plan).length} artifacts`);
    return resolved;
  } catch (error) {
    task.fail();
    throw error;
  }
}

function needsKubernetes(recipe: Recipe): boolean {
  return recipe.layers.some((l) => l.steps.some((s) => stepKinds.get(s.kind)?.needs?.includes('kubernetes')));
}

async function resolveNow(request: ResolveRequest, recipe: Recipe, session: Session): Promise<Resolved> {
  // With --offline, the last resolution of the same request is used.
  const key = digestOf({
    lock: 2,
    recipe: JSON.stringify(recipe, (key, value) => (key === 'parsed' ? undefined : value)),
    source: request.source ?? null,
    type: request.sourceType ?? null,
    platforms: request.platforms.map(formatPlatform),
    set: request.set,
  }).slice(7);
  if (session.offline) {
    const last = await session.store.getRecord<Lock>('last-lock', key);
    if (last) return plan(request, recipe, session, last, { locked: fromLast(last), repin: true });
  }
  const source = await openSource(request, recipe, session);
  const known = source && (await versionRow(source.version));
  if (source && known?.row && known.ahead)
    session.reporter.warn(
      `Kubernetes ${source.version} is newer than this version of kina: using the components of ${known.row.kubernetes}`,
    );
  const resolved = await plan(
    request,
    recipe,
    session,
    { kubernetes: source?.version, source: source?.type },
    {},
    source,
  );
  await session.store.putRecord('last-lock', key, resolved.lock);
  return resolved;
}

async function resolveLocked(request: ResolveRequest, recipe: Recipe, lock: Lock, session: Session): Promise<Resolved> {
  const path = request.lock ?? '';
  const asked = request.source ?? lock.kubernetes;
  const version =
    asked === undefined ? undefined : /^v?\d+\.\d+\.\d+/.test(asked) ? `v${asked.replace(/^v/, '')}` : lock.kubernetes;
  const platforms = request.platforms.map(formatPlatform);
  checkLock(lock, path, { recipe: recipe.name, kubernetes: version, platforms });
  return plan(
    { ...request, set: { ...lock.variables, ...request.set } },
    recipe,
    session,
    { kubernetes: version, source: lock.source },
    fromLock(lock, path),
  );
}

async function openSource(request: ResolveRequest, recipe: Recipe, session: Session) {
  if (!needsKubernetes(recipe)) {
    if (request.source !== undefined)
      throw new KinaError(
        'usage',
        `the recipe ${recipe.name} does not use a Kubernetes source, but ${JSON.stringify(request.source)} was given`,
        {
          hint: 'Omit it, or use another recipe.',
        },
      );
    return undefined;
  }
  return openKubernetesSource(request.source ?? 'stable', request.sourceType, {
    ...session,
    imageRepository: async (version) => (await versionFacts(version)).imageRepository,
    declaredVersion: request.set.kubernetes,
    architectures: request.platforms.map((p) => p.architecture),
  });
}

async function plan(
  request: ResolveRequest,
  recipe: Recipe,
  session: Session,
  { kubernetes, source: sourceType }: Pick<Lock, 'kubernetes' | 'source'>,
  known: Pick<PlanRequest, 'locked' | 'repin'> & Partial<ReturnType<typeof fromLock>>,
  source?: Awaited<ReturnType<typeof openSource>>,
): Promise<Resolved> {
  const { locked, repin = false, finish } = known;
  const made = await makePlan({
    recipe,
    platforms: request.platforms,
    set: request.set,
    kubernetes,
    source: sourceType,
    ...(locked && request.upgrade !== undefined ? partly(locked, request.upgrade) : { locked, repin }),
    strict: request.strict,
    context: (platform) => ({ ...session, platform, kubernetes: source }),
  });
  finish?.(made);
  return { plan: made, lock: lockOf(made, request.set) };
}

/** Steps that install packages build on each other's choice, so all of them are resolved. */
function partly(locked: Locked, name: string): Pick<PlanRequest, 'locked' | 'upgrade'> {
  const choosesPackages = (pins: Pins | undefined) => pins?.artifacts.some(({ type }) => type === 'deb');
  return {
    locked: (...step) => {
      const pins = locked(...step);
      return choosesPackages(pins) ? undefined : pins;
    },
    upgrade: { package: name, pinned: locked },
  };
}
