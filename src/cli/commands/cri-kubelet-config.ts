import { defineCommand, flag } from '../command.ts';
import { criSocket, jsonFlag } from '../flags.ts';

export const criKubeletConfig = defineCommand({
  name: 'cri kubelet-config',
  summary: 'Print the kubelet configuration for this service',
  flags: [
    flag('--socket <path|url>', 'socket of the service', { default: criSocket }),
    flag('--kubernetes <version>', 'version of the kubelet; before v1.27 the endpoint is a command-line flag', {
      default: 'v1.34.0',
    }),
    jsonFlag,
  ],
  run: () => import('../handlers/cri-kubelet-config.ts'),
});
