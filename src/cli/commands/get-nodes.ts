import { defineCommand, flag } from '../command.ts';
import { jsonFlag, nameFlag, providerFlag } from '../flags.ts';

export const getNodes = defineCommand({
  name: 'get nodes',
  summary: 'List the nodes of a cluster',
  flags: [nameFlag, flag('-A, --all-clusters', 'list the nodes of all clusters'), providerFlag, jsonFlag],
  run: () => import('../handlers/get-nodes.ts'),
});
