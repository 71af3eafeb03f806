import { defineCommand, flag } from '../command.ts';
import { clusterNames, kubeconfigFlag, providerFlag } from '../flags.ts';

export const deleteClusters = defineCommand({
  name: 'delete clusters',
  summary: 'Delete several clusters',
  arguments: [{ name: '[names...]', description: 'names of the clusters', values: clusterNames }],
  flags: [flag('-A, --all', 'delete all clusters'), kubeconfigFlag, providerFlag],
  run: () => import('../handlers/delete-clusters.ts'),
});
