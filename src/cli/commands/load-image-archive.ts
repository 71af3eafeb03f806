import { defineCommand } from '../command.ts';
import { jsonFlag, nameFlag, nodesFlag, providerFlag } from '../flags.ts';

export const loadImageArchive = defineCommand({
  name: 'load image-archive',
  summary: 'Load all images of archives into the nodes of a cluster',
  arguments: [{ name: '<file...>', description: 'OCI or docker archives, compressed or not' }],
  flags: [nameFlag, nodesFlag, providerFlag, jsonFlag],
  run: () => import('../handlers/load-image-archive.ts'),
});
