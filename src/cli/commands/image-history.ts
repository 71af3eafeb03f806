import { defineCommand } from '../command.ts';
import { imageArgument, jsonFlag, platformsFlag } from '../flags.ts';

export const imageHistory = defineCommand({
  name: 'image history',
  summary: 'Show the layers of an image, oldest first, and the steps that made them',
  arguments: [imageArgument],
  flags: [platformsFlag, jsonFlag],
  run: () => import('../handlers/image-history.ts'),
});
