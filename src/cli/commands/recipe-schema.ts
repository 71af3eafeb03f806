import { defineCommand } from '../command.ts';

export const recipeSchema = defineCommand({
  name: 'recipe schema',
  summary: 'Print the JSON Schema of recipes, for editors',
  run: () => import('../handlers/recipe-schema.ts'),
});
