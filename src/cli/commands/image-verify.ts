import { defineCommand } from '../command.ts';
import { imageArgument, jsonFlag } from '../flags.ts';

export const imageVerify = defineCommand({
  name: 'image verify',
  summary: 'Verify every digest of an image: index, manifests, configs, layers and their uncompressed content',
  arguments: [imageArgument],
  flags: [jsonFlag],
  run: () => import('../handlers/image-verify.ts'),
});
