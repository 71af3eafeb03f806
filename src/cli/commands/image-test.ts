import { defineCommand, flag } from '../command.ts';
import { imageArgument, jsonFlag, mirrorFlags, platformFlag } from '../flags.ts';

export const imageTest = defineCommand({
  name: 'image test',
  summary: 'Boot an image in a container engine, or else in an emulated machine, and check that it works as a node',
  arguments: [imageArgument],
  flags: [
    platformFlag,
    flag('--provider <name>', 'podman, docker or vm (default: $KINA_PROVIDER, else an engine that works, else vm)', {
      values: () => ['podman', 'docker', 'vm'],
    }),
    flag('--init', 'also run kubeadm init and wait for a Ready node'),
    flag('--timeout <duration>', 'time limit for all checks, e.g. 90s or 20m (default: 10m, emulated 60m)'),
    flag('--junit <file>', 'also write a JUnit report'),
    ...mirrorFlags,
    jsonFlag,
  ],
  run: () => import('../handlers/image-test.ts'),
});
