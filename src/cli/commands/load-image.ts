import { defineCommand } from '../command.ts';
import { jsonFlag, nameFlag, nodesFlag, providerFlag } from '../flags.ts';

export const loadImage = defineCommand({
  name: 'load image',
  summary: 'Load images from the store of kina, from docker or from podman into the nodes of a cluster',
  arguments: [{ name: '<image...>', description: 'names of the images' }],
  flags: [nameFlag, nodesFlag, providerFlag, jsonFlag],
  run: () => import('../handlers/load-image.ts'),
});
