import { defineCommand } from '../command.ts';
import { jsonFlag, recipeArgument } from '../flags.ts';

export const recipeShow = defineCommand({
  name: 'recipe show',
  summary: 'Print a recipe merged with the recipes that it extends',
  arguments: [recipeArgument],
  flags: [jsonFlag],
  run: () => import('../handlers/recipe-show.ts'),
});
