import { loadRecipe, shippedRecipes } from '../../build/recipe/load.ts';
import { answer, answerJson } from '../terminal/context.ts';
import { table } from '../terminal/format.ts';

export async function run({ json }: { readonly json: boolean }): Promise<void> {
  const recipes = await Promise.all((await shippedRecipes()).map((name) => loadRecipe(name)));
  if (json) return answerJson(recipes.map(({ name, description }) => ({ name, description })));
  answer(table([['NAME', 'DESCRIPTION'], ...recipes.map((r) => [r.name, r.description])]));
}
