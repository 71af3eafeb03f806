import { defineCommand } from '../command.ts';
import { jsonFlag } from '../flags.ts';

export const recipeList = defineCommand({
  name: 'recipe list',
  alias: 'ls',
  summary: 'List the recipes that are shipped with kina',
  flags: [jsonFlag],
  run: () => import('../handlers/recipe-list.ts'),
});
