/**
 * The plan: a recipe with variables, conditions and versions decided and every artifact pinned. Making it reads version
 * markers, indexes and checksum files, never an artifact (but for `unverified` ones, whose digest cannot be had otherwise).
 *
 * A step may carry the image of another recipe. That recipe gets a plan of its own within this one, with the same
 * platform and the same lock, where its steps are called `STEP/ITS-STEP`.
 *
 * Steps resolve in the recipe's order, because a later condition may ask for a version that an earlier step found
 * (Debian's containerd), but they wait for each other only there: everything else is asked for at once.
 */
import semver from 'semver';
import { problemsOf } from '../../host/diagnose.ts';
import { KinaError } from '../../host/errors.ts';
import { digestOf } from '../../host/json.ts';
import { didYouMean } from '../../host/suggest.ts';
import { stepKinds } from '../../layers/kinds.ts';
import { type InnerRecipe, noPins, type Pins, type ResolveContext } from '../../layers/step.ts';
import { expandDeep, expandTemplate } from '../../layers/template.ts';
import { cgroupDriver } from '../../oci/node-conventions.ts';
import { formatPlatform, type Platform } from '../../oci/platform.ts';
import { loadRecipe } from '../recipe/load.ts';
import type { Recipe, RecipeStep } from '../recipe/schema.ts';
import { versionFacts } from '../versions.ts';

export interface PlannedStep {
  /** Unique in the plan and stable: `kubernetes/kubelet`. */
  readonly id: string;
  readonly kind: string;
  readonly body: unknown;
  readonly component: string | undefined;
  readonly replace: boolean;
  readonly folder: string;
  /** Its own, and the artifacts of the image that it carries. */
  readonly pins: Pins;
  /** The plan of that image, for the same platform alone. */
  readonly inner: Plan | undefined;
  /** Digest of what the recipe says (kind, body, flags), without pins: what a lock is compared with. */
  readonly digest: string;
}
export interface PlannedLayer {
  readonly name: string;
  readonly steps: readonly PlannedStep[];
}
export interface PlatformPlan {
  readonly platform: Platform;
  readonly layers: readonly PlannedLayer[];
  /** Component versions, sorted by name. */
  readonly components: Readonly<Record<string, string>>;
  readonly absent: readonly string[];
}
export interface Plan {
  readonly recipe: string;
  readonly description: string;
  readonly kubernetes: string | undefined;
  readonly variables: Readonly<Record<string, string>>;
  readonly image: Recipe['image'];
  readonly platforms: readonly PlatformPlan[];
}

/** Pins by platform and step id, from a lock. `undefined` asks the network. */
export type Locked = (platform: string, id: string, digest: string) => Pins | undefined;

export interface PlanRequest {
  readonly recipe: Recipe;
  readonly platforms: readonly Platform[];
  /** `--set` values. */
  readonly set: Readonly<Record<string, string>>;
  readonly kubernetes: string | undefined;
  readonly locked?: Locked | undefined;
  /** Where a local file is another one now: `locked` is no promise then, and the file is pinned as it is. */
  readonly repin?: boolean;
  /** Of the steps that `locked` leaves to the network: pinned beforehand, and to stay so but for one package. */
  readonly upgrade?: { readonly package: string; readonly pinned: Locked } | undefined;
  readonly strict: boolean;
  /** Paths of the recipes whose images carry this one, the outermost first. */
  readonly carriedBy?: readonly string[];
  context(platform: Platform): Omit<ResolveContext, 'debian' | 'recipeFolder' | 'upgrade'>;
}

/** Throws `recipe` for what the recipe gets wrong, `not-found` for a component upstream lacks and nothing allows to lack. */
export async function makePlan(request: PlanRequest): Promise<Plan> {
  const variables = await chooseVariables(request);
  // One after the other: each holds package indexes of some 60 MB while it resolves.
  const platforms: PlatformPlan[] = [];
  for (const platform of request.platforms) platforms.push(await planPlatform(request, platform, variables));
  checkAgreement(platforms);
  const absent = [...new Set(platforms.flatMap((p) => p.absent))];
  if (request.strict && absent.length > 0)
    throw new KinaError('not-found', `upstream does not have: ${absent.join(', ')}`, {
      hint: 'These are optional in the recipe; leave out --strict to build without them.',
    });
  const { recipe } = request;
  const image = expandDeep(recipe.image, { ...variables, recipe: recipe.name }, `${recipe.name}: image`);
  return {
    recipe: recipe.name,
    description: recipe.description,
    kubernetes: request.kubernetes,
    variables,
    image,
    platforms,
  };
}

/** Variables every step sees: built-in ones, the version table's, the recipe's, and what the person set. */
async function chooseVariables({ recipe, kubernetes, set }: PlanRequest): Promise<Record<string, string>> {
  const facts: Record<string, string> = kubernetes ? { ...(await versionFacts(kubernetes)) } : {};
  const known = [...Object.keys(recipe.variables), ...Object.keys(facts), 'kubernetes'];
  const problems: string[] = [];
  for (const key of Object.keys(set))
    if (!known.includes(key)) problems.push(`--set ${key}: the recipe has no such variable${didYouMean(key, known)}`);
  const own: Record<string, string> = {};
  for (const [name, variable] of Object.entries(recipe.variables)) {
    const value = set[name] ?? variable.default;
    if (value === undefined)
      problems.push(
        `the variable ${name} has no value; give --set ${name}=…${variable.description ? ` (${variable.description})` : ''}`,
      );
    else if (variable.values && !variable.values.includes(value))
      problems.push(
        `${name} is ${JSON.stringify(value)}, but must be one of: ${variable.values.join(', ')}${didYouMean(value, variable.values)}`,
      );
    else own[name] = value;
  }
  if (problems.length > 0)
    throw new KinaError('usage', `recipe ${recipe.name}: variables`, {
      details: problems,
      hint: `Variables: ${known.sort().join(', ')}.`,
    });
  const version = kubernetes ? semver.coerce(kubernetes) : undefined;
  return {
    ...facts,
    ...own,
    ...set,
    recipe: recipe.name,
    // The systemd driver is the default of everything that runs without an old kubelet.
    systemdCgroup: String(kubernetes === undefined || cgroupDriver(kubernetes) === 'systemd'),
    ...(kubernetes && version ? { kubernetes, kubernetesMinor: `${version.major}.${version.minor}` } : {}),
  };
}

async function planPlatform(
  request: PlanRequest,
  platform: Platform,
  variables: Record<string, string>,
): Promise<PlatformPlan> {
  const base = request.context(platform);
  const vars: Record<string, string> = { ...variables, arch: platform.architecture };
  const components: Record<string, string> = {};
  if (request.kubernetes) components.kubernetes = request.kubernetes.replace(/^v/, '');
  const debian: ResolveContext['debian'] = { archives: [], chosen: [], exclude: [] };
  const pending: Promise<unknown>[] = [];
  const layers: { name: string; steps: Promise<PlannedStep>[] }[] = [];
  const ids = new Set<string>();

  for (const layer of request.recipe.layers) {
    const steps: Promise<PlannedStep>[] = [];
    for (const step of layer.steps) {
      if (!holds(step, platform, components, vars)) continue;
      const id = uniqueId(`${layer.name}/${step.component ?? step.kind}`, ids);
      const { kind, body } = expandStep(step, vars);
      const digest = digestOf({
        kind: step.kind,
        body,
        component: step.component ?? null,
        optional: step.optional ?? false,
        replace: step.replace ?? false,
      });
      const pinStep = async (): Promise<Pins> => {
        let locked = request.locked?.(formatPlatform(platform), id, digest);
        // An image that is remembered for these pins must not hide that the person's file is another one now.
        if (locked && locked !== noPins)
          await kind.checkLocal?.(body, locked, step.folder).catch((error) => {
            if (!request.repin || !(error instanceof KinaError) || error.code !== 'lock') throw error;
            locked = undefined;
          });
        const pins = locked ? undefined : request.upgrade?.pinned(formatPlatform(platform), id, digest);
        const upgrade = pins && request.upgrade && { package: request.upgrade.package, pins };
        const context = { ...base, debian, recipeFolder: step.folder, upgrade };
        const resolved = locked ?? (await kind.resolve?.(body, context, step));
        return inOrder(resolved ?? noPins);
      };
      const innerRecipe = kind.inner?.(body);
      const planInner = async (): Promise<Plan | undefined> =>
        innerRecipe && planCarried(request, platform, innerRecipe, { ...step, id });
      const planned = Promise.all([pinStep(), planInner()]).then(([own, inner]): PlannedStep => {
        const pins = inner ? withArtifactsOf(own, inner) : own;
        Object.assign(components, pins.components);
        Object.assign(vars, pins.components);
        const version = step.component ? vars[step.component] : undefined;
        if (step.component && version && pins.absent.length === 0)
          components[step.component] = version.replace(/^v/, '');
        return {
          id,
          kind: step.kind,
          body,
          component: step.component,
          replace: step.replace ?? false,
          folder: step.folder,
          pins,
          inner,
          digest,
        };
      });
      steps.push(planned);
      pending.push(planned);
      // Only Debian's packages bring versions that later steps may ask for; they also build on each other's choice.
      if (step.kind === 'debian') await planned.catch(() => Promise.all(pending));
    }
    layers.push({ name: layer.name, steps });
  }
  await settleAll(pending);
  const done: PlannedLayer[] = [];
  for (const layer of layers)
    if (layer.steps.length > 0) done.push({ name: layer.name, steps: await Promise.all(layer.steps) });
  return {
    platform,
    layers: done,
    components: Object.fromEntries(Object.entries(components).sort(([a], [b]) => (a < b ? -1 : 1))),
    absent: [...new Set(done.flatMap((l) => l.steps.flatMap(absentIn)))].sort(),
  };
}

/** The plan of an image that a step carries: its own recipe and variables, the step's platform, the one lock. */
async function planCarried(
  request: PlanRequest,
  platform: Platform,
  { recipe: name, set }: InnerRecipe,
  step: { readonly id: string; readonly where: string; readonly folder: string },
): Promise<Plan> {
  const recipe = await loadRecipe(name, step.folder);
  const carriedBy = [...(request.carriedBy ?? []), request.recipe.path];
  if (carriedBy.includes(recipe.path))
    throw new KinaError(
      'recipe',
      `${step.where}: recipes carry each other's images in a circle: ${[...carriedBy, recipe.path].join(' -> ')}`,
    );
  const { locked, upgrade } = request;
  const inside =
    (pins: Locked): Locked =>
    (where, id, digest) =>
      pins(where, `${step.id}/${id}`, digest);
  try {
    return await makePlan({
      ...request,
      recipe,
      platforms: [platform],
      set,
      kubernetes: undefined,
      locked: locked && inside(locked),
      upgrade: upgrade && { ...upgrade, pinned: inside(upgrade.pinned) },
      carriedBy,
      context: (p) => ({ ...request.context(p), kubernetes: undefined }),
    });
  } catch (error) {
    if (!(error instanceof KinaError) || error.code !== 'usage') throw error;
    // Its values are the step's, not flags.
    const { hint, details } = error;
    throw new KinaError('recipe', `${step.where}: ${error.message}`, {
      ...(hint ? { hint } : {}),
      details,
      cause: error,
    });
  }
}

/** Whoever counts, fetches or lists what a plan needs looks at the steps' artifacts. */
function withArtifactsOf(own: Pins, inner: Plan): Pins {
  const carried = inner.platforms.flatMap((p) => p.layers.flatMap((l) => l.steps.flatMap((s) => s.pins.artifacts)));
  return { ...own, artifacts: [...own.artifacts, ...carried] };
}

/** What upstream lacks of a step, or of the image that it carries. */
function absentIn({ pins, inner }: PlannedStep): readonly string[] {
  return [...pins.absent, ...(inner?.platforms ?? []).flatMap((p) => p.absent)];
}

/** The order in which a lock lists them: a build from the lock and the one that made it must see the same pins. */
function inOrder(pins: Pins): Pins {
  const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  return {
    ...pins,
    artifacts: [...pins.artifacts].sort((a, b) => order(a.name, b.name) || order(a.url, b.url)),
    inputs: Object.fromEntries(Object.entries(pins.inputs).sort(([a], [b]) => order(a, b))),
  };
}

/** Waits for all, so that one failure does not leave requests running, then reports every distinct failure at once. */
async function settleAll(work: readonly Promise<unknown>[]): Promise<void> {
  const failures = (await Promise.allSettled(work))
    .filter((r) => r.status === 'rejected')
    .map((r) => r.reason as unknown);
  const first = failures[0];
  if (first === undefined) return;
  const others = [...new Set(failures.map((f) => (f instanceof Error ? f.message : String(f))))].slice(1);
  if (others.length === 0 || !(first instanceof KinaError)) throw first;
  throw new KinaError(first.code, first.message, {
    ...(first.hint ? { hint: first.hint } : {}),
    details: [...first.details, ...others],
    cause: first,
  });
}

function uniqueId(wanted: string, taken: Set<string>): string {
  let id = wanted;
  for (let n = 2; taken.has(id); n++) id = `${wanted}-${n}`;
  taken.add(id);
  return id;
}

/** Whether a step's conditions hold. A condition on a component that nothing brings does not hold. */
function holds(
  step: RecipeStep,
  platform: Platform,
  components: Record<string, string>,
  variables: Record<string, string>,
): boolean {
  return Object.entries(step.when).every(([key, wanted]) => {
    if (key === 'platform') return wanted.split('|').some((p) => p.trim() === formatPlatform(platform));
    const range = semver.validRange(wanted) !== null && /\d/.test(wanted);
    const version = components[key] ?? (range ? variables[key] : undefined);
    if (range && version !== undefined) {
      const base = semver.coerce(version);
      return base !== null && semver.satisfies(base, wanted);
    }
    if (range) return false;
    const value = variables[key];
    if (value === undefined)
      throw new KinaError(
        'recipe',
        `${step.where}: the condition ${key}: ${JSON.stringify(wanted)} is neither a semver range on a component nor about a variable${didYouMean(key, ['platform', ...Object.keys(variables)])}`,
      );
    return wanted.split('|').some((w) => w.trim() === value);
  });
}

function expandStep(
  step: RecipeStep,
  variables: Record<string, string>,
): { kind: NonNullable<ReturnType<typeof stepKinds.get>>; body: unknown } {
  const kind = stepKinds.get(step.kind)!;
  const expanded = expandDeep(step.body, variables, step.where);
  const template = expanded as { template?: boolean };
  const withVariables =
    template !== null && typeof expanded === 'object' && template.template === true
      ? { ...(expanded as object), variables }
      : expanded;
  const parsed = kind.schema.safeParse(withVariables);
  if (!parsed.success)
    throw new KinaError('recipe', `${step.where}: ${step.kind}: does not hold after its variables are filled in`, {
      details: problemsOf(parsed.error, kind.schema).map((p) => p.message),
    });
  return { kind, body: parsed.data };
}

/** Both platforms of one index must have the same versions, or people debug ghosts. */
function checkAgreement(platforms: readonly PlatformPlan[]): void {
  const [first, ...others] = platforms;
  if (!first) return;
  const differences: string[] = [];
  for (const other of others)
    for (const name of Object.keys({ ...first.components, ...other.components }))
      if (first.components[name] !== other.components[name])
        differences.push(
          `${name}: ${first.components[name] ?? 'absent'} (${first.platform.architecture}), ${other.components[name] ?? 'absent'} (${other.platform.architecture})`,
        );
  if (differences.length > 0)
    throw new KinaError('recipe', 'the platforms would get different versions', {
      details: differences,
      hint: 'Wait until the archive has the same version for both, or build one platform at a time.',
    });
}

/** The image's name for `--tag`'s default; a CI build's version has a `+`, which no tag may have. */
export function expandTag(plan: Plan, template: string): string {
  return expandTemplate(template, { ...plan.variables, recipe: plan.recipe }, 'image tag').replaceAll('+', '_');
}
