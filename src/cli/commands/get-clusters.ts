import { defineCommand } from '../command.ts';
import { jsonFlag, providerFlag } from '../flags.ts';

export const getClusters = defineCommand({
  name: 'get clusters',
  summary: 'List clusters',
  flags: [providerFlag, jsonFlag],
  run: () => import('../handlers/get-clusters.ts'),
});
