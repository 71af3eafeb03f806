import { defineCommand, flag } from '../command.ts';
import { imageArgument, outputDescription, platformsFlag } from '../flags.ts';

export const imageSave = defineCommand({
  name: 'image save',
  summary: 'Write an image from the store to an archive or a directory',
  arguments: [imageArgument],
  flags: [flag('-o, --output <spec>', outputDescription, { repeatable: true }), platformsFlag],
  run: () => import('../handlers/image-save.ts'),
});
