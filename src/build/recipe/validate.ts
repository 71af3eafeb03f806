/**
 * What is wrong with a recipe beyond its shape, as far as the recipe alone can tell: undefined variables. The
 * rest (do packages exist, does upstream have the version) is a matter of the plan.
 */
import { KinaError } from '../../host/errors.ts';
import { didYouMean } from '../../host/suggest.ts';
import { versionTable } from '../versions.ts';
import { loadRecipe } from './load.ts';
import { parseLoosely } from './loose.ts';
import type { Recipe, RecipeStep } from './schema.ts';

export interface RecipeProblem {
  readonly file: string;
  /** Both count from 1; 0 where a whole file is meant. */
  readonly line: number;
  readonly column: number;
  readonly message: string;
}

/** Every problem of the recipe and of those it extends, in the order of the files; none means that it can be planned. */
export async function validateRecipe(nameOrPath: string): Promise<RecipeProblem[]> {
  try {
    return await unknownVariables(await loadRecipe(nameOrPath));
  } catch (error) {
    if (!(error instanceof KinaError) || error.code !== 'recipe') throw error;
    const found = error.details.map(parseProblem).filter((p) => p !== undefined);
    if (found.length > 0) return found;
    return [{ file: nameOrPath, line: 0, column: 0, message: [error.message, error.hint].filter(Boolean).join('. ') }];
  }
}

/** The lines of `loadRecipe`'s errors. */
function parseProblem(text: string): RecipeProblem | undefined {
  const match = /^(.*?):(\d+):(\d+): ([\s\S]*)$/.exec(text);
  return match ? { file: match[1]!, line: Number(match[2]), column: Number(match[3]), message: match[4]! } : undefined;
}

/** Names that every recipe may use: see `chooseVariables` in the plan. */
const builtIn = ['arch', 'kubernetes', 'kubernetesMinor', 'recipe', 'systemdCgroup'];

async function unknownVariables(recipe: Recipe): Promise<RecipeProblem[]> {
  const facts = (await versionTable()).flatMap((row) => Object.keys(row));
  const steps = recipe.layers.flatMap((layer) => layer.steps);
  const components = steps.flatMap((step) => parseLoosely(step)?.components ?? []);
  const known = new Set([...builtIn, ...facts, ...components, ...Object.keys(recipe.variables)]);
  const problems = steps.flatMap((step) =>
    [...new Set(namesIn(step.body))]
      .filter((name) => !known.has(name))
      .map((name) => problemAt(step, `unknown variable \${${name}}${didYouMean(name, known)}`)),
  );
  for (const name of new Set(namesIn(recipe.image)))
    if (!known.has(name))
      problems.push({
        file: recipe.name,
        line: 0,
        column: 0,
        message: `image: unknown variable \${${name}}${didYouMean(name, known)}`,
      });
  return problems;
}

function problemAt(step: RecipeStep, message: string): RecipeProblem {
  return parseProblem(`${step.where}: ${message}`)!;
}

/** `name` of every `${name}` inside; `$${` is a literal. */
function namesIn(value: unknown): string[] {
  if (typeof value === 'string')
    return [...value.matchAll(/\$(?:\$\{|\{([^}]*)\})/g)].flatMap((m) => (m[1] === undefined ? [] : [m[1].trim()]));
  if (value === null || typeof value !== 'object') return [];
  return Object.entries(value).flatMap(([key, inner]) => [...namesIn(key), ...namesIn(inner)]);
}
