import { defineCommand } from '../command.ts';
import { imageArgument, jsonFlag, platformFlag } from '../flags.ts';

export const imageFiles = defineCommand({
  name: 'image files',
  summary: 'List the files of an image with the layer, package or step that each comes from',
  arguments: [
    imageArgument,
    { name: '[path]', description: 'path, directory or glob (*, ?, **) (default: everything)' },
  ],
  flags: [platformFlag, jsonFlag],
  run: () => import('../handlers/image-files.ts'),
});
