/**
 * Makes the plan: a recipe with all variables, conditions and versions decided and every artifact pinned. This reads version
 * markers, indexes and checksum files, but no artifacts, except `unverified` ones, whose digest is not published.
 *
 * A step may carry the image of another recipe. That recipe gets its own plan inside this one, with the same platform and
 * the same lock, where its steps are called `STEP/ITS-STEP`.
 */
import { KinaError } from '../../host/errors.ts';
import type { InnerRecipe } from '../../layers/step.ts';
import { expandDeep, expandTemplate } from '../../layers/template.ts';
import type { Platform } from '../../oci/platform.ts';
import { loadRecipe } from '../recipe/load.ts';
import type { Locked, Plan, PlanRequest, PlatformPlan } from './model.ts';
import { planPlatform } from './platform.ts';
import { chooseVariables } from './variables.ts';

/** Throws `recipe` for mistakes in the recipe, `not-found` for a component that upstream lacks and that is not optional. */
export async function makePlan(request: PlanRequest): Promise<Plan> {
  const variables = await chooseVariables(request);
  // One after the other: each holds about 60 MB of package indexes while it resolves.
  const platforms: PlatformPlan[] = [];
  for (const platform of request.platforms)
    platforms.push(
      await planPlatform(request, platform, variables, (inner, step) => planCarried(request, platform, inner, step)),
    );
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
    source: request.source,
    variables,
    image,
    platforms,
  };
}

/** The plan of an image that a step carries: its own recipe and variables, the step's platform, the same lock. */
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
      source: undefined,
      locked: locked && inside(locked),
      upgrade: upgrade && { ...upgrade, pinned: inside(upgrade.pinned) },
      carriedBy,
      context: (p) => ({ ...request.context(p), kubernetes: undefined }),
    });
  } catch (error) {
    if (!(error instanceof KinaError) || error.code !== 'usage') throw error;
    // The values come from the step, not from flags.
    const { hint, details } = error;
    throw new KinaError('recipe', `${step.where}: ${error.message}`, {
      ...(hint ? { hint } : {}),
      details,
      cause: error,
    });
  }
}

/** All platforms of one index must have the same versions, or bugs depend on the machine that runs the image. */
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

/** The image's default name. A `+`, as in versions of CI builds, is not allowed in a tag. */
export function expandTag(plan: Plan, template: string): string {
  return expandTemplate(template, { ...plan.variables, recipe: plan.recipe }, 'image tag').replaceAll('+', '_');
}
