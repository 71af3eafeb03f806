import { defineCommand } from '../command.ts';
import { jsonFlag } from '../flags.ts';

export const imageLs = defineCommand({
  name: 'image ls',
  alias: 'list',
  summary: 'List the images in the store',
  flags: [jsonFlag],
  run: () => import('../handlers/image-ls.ts'),
});
