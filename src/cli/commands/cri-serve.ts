import { defineCommand, flag } from '../command.ts';
import {
  criConfigFlag,
  criProviderFlag,
  criSocket,
  insecureRegistryFlag,
  mirrorFlags,
  sandboxImageFlag,
} from '../flags.ts';

export const criServe = defineCommand({
  name: 'cri serve',
  summary: 'Serve CRI on a Unix socket until interrupted, with one sandbox per pod; pods outlive the service',
  flags: [
    flag('--socket <path|url>', `socket to listen on (default: ${criSocket})`),
    criProviderFlag,
    criConfigFlag,
    flag(
      '--root <dir>',
      'directory for the state of pods and images (default: /var/lib/kina-cri; below the home directory if not root)',
    ),
    flag('--share <dir>', 'directory that pods may mount (repeatable; default: /var/lib/kubelet)', {
      repeatable: true,
    }),
    flag('--network <name>', 'network of the provider for sandboxes (default: kina-cri)'),
    flag(
      '--route <cidr=gateway>',
      'route addresses through a node that translates them, e.g. service IPs (repeatable)',
      {
        repeatable: true,
      },
    ),
    sandboxImageFlag,
    flag('--cpus <n>', 'CPUs of a sandbox whose pod has no limit'),
    flag('--memory <MiB>', 'memory of a sandbox whose pod has no limit'),
    flag('--streaming-address <ip>', 'address to listen on for exec, attach and port forwarding (default: 127.0.0.1)'),
    flag('--streaming-port <port>', 'port to listen on for exec, attach and port forwarding (default: a free one)'),
    ...mirrorFlags,
    insecureRegistryFlag,
  ],
  examples: [
    ['kina cri serve --provider podman --share /var/lib/kubelet'],
    [`crictl --runtime-endpoint ${criSocket} pods`],
  ],
  run: () => import('../handlers/cri-serve.ts'),
});
