import { defineCommand, flag } from '../command.ts';
import { insecureRegistryFlag, mirrorFlag, platformNames } from '../flags.ts';

export const pull = defineCommand({
  name: 'pull',
  summary: 'Pull an image from a registry into the store',
  arguments: [{ name: '<ref>', description: 'name of the image, with a tag or a digest' }],
  flags: [
    flag('--platform <list>', 'comma-separated list of platforms to pull into a new index (default: all)', {
      values: platformNames,
    }),
    mirrorFlag,
    insecureRegistryFlag,
  ],
  run: () => import('../handlers/pull.ts'),
});
