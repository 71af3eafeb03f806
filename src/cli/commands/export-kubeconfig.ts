import { defineCommand } from '../command.ts';
import { internalFlag, kubeconfigFlag, nameFlag, providerFlag } from '../flags.ts';

export const exportKubeconfig = defineCommand({
  name: 'export kubeconfig',
  summary: 'Merge the kubeconfig of a cluster into a file',
  flags: [nameFlag, internalFlag, kubeconfigFlag, providerFlag],
  run: () => import('../handlers/export-kubeconfig.ts'),
});
