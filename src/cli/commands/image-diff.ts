import { defineCommand, flag } from '../command.ts';
import { jsonFlag, platformsFlag } from '../flags.ts';

export const imageDiff = defineCommand({
  name: 'image diff',
  summary: 'Compare the layers, files, packages, components and settings of two images',
  arguments: [
    { name: '<a>', description: 'name of the first image' },
    { name: '<b>', description: 'name of the second image' },
  ],
  flags: [
    platformsFlag,
    flag('--files', 'list every file, including those of packages whose version differs'),
    flag('--exit-code', 'exit with 1 if the images differ'),
    jsonFlag,
  ],
  run: () => import('../handlers/image-diff.ts'),
});
