import { defineCommand } from '../command.ts';
import { nameFlag, providerFlag } from '../flags.ts';

export const stopCluster = defineCommand({
  name: 'stop cluster',
  summary: 'Stop a cluster and keep its nodes and data',
  flags: [nameFlag, providerFlag],
  run: () => import('../handlers/stop-cluster.ts'),
});
