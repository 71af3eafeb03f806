/**
 * Plans one platform. Steps are resolved at the same time, except for `ordered` kinds: a later condition may ask for a
 * version that such a step finds (Debian's containerd), so planning waits for it.
 */
import { problemsOf } from '../../host/diagnose.ts';
import { KinaError } from '../../host/errors.ts';
import { digestOf } from '../../host/json.ts';
import type { Step } from '../../layers/kind.ts';
import { stepKinds } from '../../layers/kinds.ts';
import { type InnerRecipe, noPins, type Pins } from '../../layers/step.ts';
import { expandDeep } from '../../layers/template.ts';
import type { Digest } from '../../oci/descriptor.ts';
import { formatPlatform, type Platform } from '../../oci/platform.ts';
import type { RecipeStep } from '../recipe/schema.ts';
import { conditionsHold } from './conditions.ts';
import type { Plan, PlannedLayer, PlannedStep, PlanRequest, PlatformPlan } from './model.ts';

/** Plans the image that a step carries. */
type PlanInner = (inner: InnerRecipe, step: { id: string; where: string; folder: string }) => Promise<Plan>;

export async function planPlatform(
  request: PlanRequest,
  platform: Platform,
  variables: Readonly<Record<string, string>>,
  planInner: PlanInner,
): Promise<PlatformPlan> {
  return new PlatformPlanner(request, platform, variables, planInner).plan();
}

class PlatformPlanner {
  readonly #request: PlanRequest;
  readonly #platform: Platform;
  readonly #planInner: PlanInner;
  /** Both grow while steps are resolved. */
  readonly #variables: Record<string, string>;
  readonly #components: Record<string, string> = {};
  /** What the last step of each `ordered` kind returned. */
  readonly #states = new Map<string, unknown>();
  readonly #pending: Promise<PlannedStep>[] = [];
  readonly #ids = new Set<string>();

  constructor(
    request: PlanRequest,
    platform: Platform,
    variables: Readonly<Record<string, string>>,
    planInner: PlanInner,
  ) {
    this.#request = request;
    this.#platform = platform;
    this.#planInner = planInner;
    this.#variables = { ...variables, arch: platform.architecture };
    if (request.kubernetes) this.#components.kubernetes = request.kubernetes.replace(/^v/, '');
  }

  async plan(): Promise<PlatformPlan> {
    const layers: { name: string; steps: Promise<PlannedStep>[] }[] = [];
    for (const { name, steps } of this.#request.recipe.layers) {
      const started: Promise<PlannedStep>[] = [];
      layers.push({ name, steps: started });
      for (const step of steps) {
        if (!conditionsHold(step, this.#platform, this.#components, this.#variables)) continue;
        const planned = this.#start(name, step);
        started.push(planned);
        this.#pending.push(planned);
        if (stepKinds.get(step.kind)?.ordered) await planned.catch(() => Promise.all(this.#pending));
      }
    }
    await settleAll(this.#pending);
    const done: PlannedLayer[] = [];
    for (const { name, steps } of layers) if (steps.length > 0) done.push({ name, steps: await Promise.all(steps) });
    return {
      platform: this.#platform,
      layers: done,
      components: Object.fromEntries(Object.entries(this.#components).sort(([a], [b]) => (a < b ? -1 : 1))),
      absent: [...new Set(done.flatMap((l) => l.steps.flatMap(absentIn)))].sort(),
    };
  }

  /** Fills in variables and starts to resolve. Throws `recipe` at once when the step is wrong. */
  #start(layer: string, recipeStep: RecipeStep): Promise<PlannedStep> {
    const id = this.#uniqueId(`${layer}/${recipeStep.component ?? recipeStep.kind}`);
    const step = parseStep(recipeStep, this.#variables);
    const variables = step.usesVariables ? { ...this.#variables } : {};
    const digest = digestOf({
      kind: recipeStep.kind,
      body: step.usesVariables ? { ...(step.settings as object), variables } : step.settings,
      component: recipeStep.component ?? null,
      optional: recipeStep.optional ?? false,
      replace: recipeStep.replace ?? false,
    });
    return this.#planStep(recipeStep, { id, step, variables, digest });
  }

  async #planStep(
    recipeStep: RecipeStep,
    { id, step, ...known }: Pick<PlannedStep, 'id' | 'step' | 'variables' | 'digest'>,
  ): Promise<PlannedStep> {
    const { folder, component, replace = false, where } = recipeStep;
    const [pins, inner] = await Promise.all([
      this.#pin(recipeStep, step, id, known.digest),
      step.inner && this.#planInner(step.inner, { id, where, folder }),
    ]);
    Object.assign(this.#components, pins.components);
    Object.assign(this.#variables, pins.components);
    const version = component ? this.#variables[component] : undefined;
    if (component && version && pins.absent.length === 0) this.#components[component] = version.replace(/^v/, '');
    return { id, step, ...known, component, replace, folder, pins, inner };
  }

  /** The locked pins, or what the step resolves to now. */
  async #pin(recipeStep: RecipeStep, step: Step, id: string, digest: Digest): Promise<Pins> {
    const { locked, repin, upgrade, context } = this.#request;
    const platform = formatPlatform(this.#platform);
    const { folder } = recipeStep;
    const known = locked?.(platform, id, digest);
    if (known && (await this.#isCurrent(step, known, folder, repin ?? false))) return inOrder(known);
    const pinned = upgrade?.pinned(platform, id, digest);
    const { name } = step.kind;
    const { pins, state } = await step.resolve({
      ...context(this.#platform),
      recipeFolder: folder,
      common: recipeStep,
      previous: this.#states.get(name),
      upgrade: pinned && upgrade && { package: upgrade.package, pins: pinned },
    });
    this.#states.set(name, state);
    return inOrder(pins);
  }

  /** An image that is cached for these pins must not hide that a local file has changed. Throws `lock` unless `repin`. */
  async #isCurrent(step: Step, pins: Pins, folder: string, repin: boolean): Promise<boolean> {
    if (pins === noPins) return true;
    try {
      await step.checkLocal(pins, folder);
      return true;
    } catch (error) {
      if (repin && error instanceof KinaError && error.code === 'lock') return false;
      throw error;
    }
  }

  #uniqueId(wanted: string): string {
    let id = wanted;
    for (let n = 2; this.#ids.has(id); n++) id = `${wanted}-${n}`;
    this.#ids.add(id);
    return id;
  }
}

/** With the values of variables filled in. Throws `recipe`. */
function parseStep(step: RecipeStep, variables: Readonly<Record<string, string>>): Step {
  if (step.parsed) return step.parsed;
  const kind = stepKinds.get(step.kind);
  if (!kind) throw new KinaError('internal', `${step.where}: no step kind ${step.kind}`);
  const parsed = kind.parse(expandDeep(step.body, variables, step.where));
  if (parsed.success) return parsed.data;
  throw new KinaError('recipe', `${step.where}: ${step.kind}: invalid after its variables are filled in`, {
    details: problemsOf(parsed.error, kind.schema).map((p) => p.message),
  });
}

/** What upstream lacks of a step, or of the image that it carries. */
function absentIn({ pins, inner }: PlannedStep): readonly string[] {
  return [...pins.absent, ...(inner?.platforms ?? []).flatMap((p) => p.absent)];
}

/** The order in a lock: a build from the lock must see the same pins as the build that wrote it. */
function inOrder(pins: Pins): Pins {
  const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  return {
    ...pins,
    artifacts: [...pins.artifacts].sort((a, b) => order(a.name, b.name) || order(a.url, b.url)),
    images: [...pins.images].sort((a, b) => order(a.name, b.name)),
    inputs: Object.fromEntries(Object.entries(pins.inputs).sort(([a], [b]) => order(a, b))),
  };
}

/** Waits for all, so that a failure leaves no request running, then throws every distinct failure at once. */
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
