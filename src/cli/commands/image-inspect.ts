import { defineCommand } from '../command.ts';
import { imageArgument, jsonFlag } from '../flags.ts';

export const imageInspect = defineCommand({
  name: 'image inspect',
  summary: 'Show the platforms, configuration and layers of an image',
  arguments: [imageArgument],
  flags: [jsonFlag],
  run: () => import('../handlers/image-inspect.ts'),
});
