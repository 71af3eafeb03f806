import { defineCommand } from '../command.ts';
import { kubeconfigFlag, nameFlag, providerFlag, waitFlag } from '../flags.ts';

export const startCluster = defineCommand({
  name: 'start cluster',
  summary: 'Start a stopped cluster, or repair a running one',
  flags: [nameFlag, waitFlag, kubeconfigFlag, providerFlag],
  run: () => import('../handlers/start-cluster.ts'),
});
