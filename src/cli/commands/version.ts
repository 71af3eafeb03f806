import { defineCommand } from '../command.ts';

export const version = defineCommand({
  name: 'version',
  summary: 'Print the version',
  run: () => import('../handlers/version.ts'),
});
