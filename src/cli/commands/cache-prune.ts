import { defineCommand, flag } from '../command.ts';
import { jsonFlag } from '../flags.ts';

export const cachePrune = defineCommand({
  name: 'cache prune',
  summary: 'Remove everything that no image in the store needs',
  flags: [
    flag('--all', 'also remove entries used within the last hour'),
    flag(
      '--keep-storage <size>',
      'remove the least recently used entries until the store is at most this large, e.g. 10GB',
    ),
    flag('--dry-run', 'print what would be freed without removing anything'),
    jsonFlag,
  ],
  run: () => import('../handlers/cache-prune.ts'),
});
