import { defineCommand } from '../command.ts';
import { kubeconfigFlag, nameFlag, providerFlag } from '../flags.ts';

export const deleteCluster = defineCommand({
  name: 'delete cluster',
  summary: 'Delete a cluster',
  flags: [nameFlag, kubeconfigFlag, providerFlag],
  run: () => import('../handlers/delete-cluster.ts'),
});
