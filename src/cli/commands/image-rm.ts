import { defineCommand } from '../command.ts';

export const imageRm = defineCommand({
  name: 'image rm',
  summary: 'Remove names from the store; `kina cache prune` then frees the space',
  arguments: [{ name: '<ref...>', description: 'names of the images' }],
  run: () => import('../handlers/image-rm.ts'),
});
