import { defineCommand, flag } from '../command.ts';
import { debianMirrorFlags, insecureRegistryFlag, jsonFlag, lockedRecipeFlag, mirrorFlag } from '../flags.ts';

export const outdated = defineCommand({
  name: 'outdated',
  summary: 'List updates for a lock, and the reason for each; exit with 1 if there are any',
  flags: [
    flag('--lock <file>', 'lock file to check', { default: 'kina.lock' }),
    lockedRecipeFlag,
    mirrorFlag,
    ...debianMirrorFlags,
    insecureRegistryFlag,
    jsonFlag,
  ],
  run: () => import('../handlers/outdated.ts'),
});
