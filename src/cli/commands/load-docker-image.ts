import { defineCommand } from '../command.ts';
import { jsonFlag, nameFlag, nodesFlag, providerFlag } from '../flags.ts';

export const loadDockerImage = defineCommand({
  name: 'load docker-image',
  summary: 'Load images; same as `kina load image`, with the name that kind uses',
  arguments: [{ name: '<image...>', description: 'names of the images' }],
  flags: [nameFlag, nodesFlag, providerFlag, jsonFlag],
  run: () => import('../handlers/load-image.ts'),
});
