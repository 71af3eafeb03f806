import { defineCommand, flag } from '../command.ts';

export const cacheLs = defineCommand({
  name: 'cache ls',
  alias: 'list',
  summary: 'List the contents of the store with sizes, ages and the images that use them',
  flags: [
    flag('--all', 'list every entry, largest first, instead of a summary'),
    flag('--json', 'output every entry as JSON'),
  ],
  run: () => import('../handlers/cache-ls.ts'),
});
