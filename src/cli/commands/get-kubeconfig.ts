import { defineCommand } from '../command.ts';
import { internalFlag, nameFlag, providerFlag } from '../flags.ts';

export const getKubeconfig = defineCommand({
  name: 'get kubeconfig',
  summary: 'Print the kubeconfig of a cluster',
  flags: [nameFlag, internalFlag, providerFlag],
  run: () => import('../handlers/get-kubeconfig.ts'),
});
