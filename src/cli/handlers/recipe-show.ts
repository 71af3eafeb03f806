import { relative, sep } from 'node:path';
import { loadRecipe } from '../../build/recipe/load.ts';
import { recipeText, stepObject } from '../../build/recipe/text.ts';
import { answer, answerJson } from '../terminal/context.ts';

export async function run({ json }: { readonly json: boolean }, name: string): Promise<void> {
  const recipe = await loadRecipe(name);
  if (!json) return answer(recipeText(recipe, shortPlace));
  const layers = recipe.layers.map((layer) => ({
    name: layer.name,
    steps: layer.steps.map((step) => ({ ...stepObject(step), from: step.where })),
  }));
  answerJson({ ...recipe, layers });
}

/** Relative to the working directory if it is below it. */
function shortPlace(where: string): string {
  const short = relative(process.cwd(), where);
  return short.startsWith(`..${sep}`) ? where : short;
}
