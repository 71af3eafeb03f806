import { defineCommand } from '../command.ts';

export const cachePath = defineCommand({
  name: 'cache path',
  summary: 'Print the path of the store',
  run: () => import('../handlers/cache-path.ts'),
});
