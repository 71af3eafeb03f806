import { defineCommand } from '../command.ts';
import { imageArgument } from '../flags.ts';

export const imageTag = defineCommand({
  name: 'image tag',
  summary: 'Add a name to an image',
  arguments: [imageArgument, { name: '<new>', description: 'name to add; if another image has it, it is moved' }],
  run: () => import('../handlers/image-tag.ts'),
});
