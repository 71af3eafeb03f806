import { defineCommand } from '../command.ts';
import { jsonFlag, recipeArgument } from '../flags.ts';

export const recipeValidate = defineCommand({
  name: 'recipe validate',
  summary: 'Validate a recipe and the recipes that it extends; exit with 2 if there are problems',
  arguments: [recipeArgument],
  flags: [jsonFlag],
  run: () => import('../handlers/recipe-validate.ts'),
});
