import { defineCommand, flag } from '../command.ts';
import {
  evenControlPlanesFlag,
  jsonFlag,
  kubeconfigFlag,
  mirrorFlags,
  nameFlag,
  providerFlag,
  waitFlag,
} from '../flags.ts';

export const createCluster = defineCommand({
  name: 'create cluster',
  summary: 'Create a cluster',
  flags: [
    nameFlag,
    flag('--config <file>', 'cluster configuration, in the format of kind or kina; - reads standard input'),
    flag('--image <ref>', 'node image of all nodes'),
    flag('--build <version|recipe>', 'build the node image first, from a Kubernetes version or a recipe'),
    flag('--kernel <file>', 'kernel of all nodes (Apple container only)'),
    flag('--rosetta', 'also run amd64 images in the nodes (Apple container only)'),
    flag('--retain', 'keep the nodes for debugging when creation fails'),
    evenControlPlanesFlag,
    flag('--dry-run', 'validate everything and print the cluster without creating it'),
    waitFlag,
    kubeconfigFlag,
    providerFlag,
    ...mirrorFlags,
    jsonFlag,
  ],
  examples: [
    ['kina create cluster', 'one node, the latest Kubernetes'],
    ['kina create cluster --name ci --build v1.34.2', 'another version; builds the image if it is not in the store'],
    ['kina create cluster --config three-nodes.yaml', 'accepts configuration files of kind'],
  ],
  run: () => import('../handlers/create-cluster.ts'),
});
