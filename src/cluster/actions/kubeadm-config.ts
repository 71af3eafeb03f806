/** Writes /kind/kubeadm.conf, the configuration that `kubeadm init` and `kubeadm join` read on a node. */
import { cgroupDriver } from '../../oci/node-conventions.ts';
import { kubeadmDocuments } from '../kubeadm/documents.ts';
import { apiServerPort } from '../names.ts';
import type { Node } from '../node.ts';
import { absentPhases, endpointName, type RunningCluster } from './context.ts';

/** `caCertHashes` is for nodes that join. */
export async function writeKubeadmConfig(
  context: RunningCluster,
  node: Node,
  caCertHashes?: readonly string[],
): Promise<void> {
  const { cluster, kubernetes, provider, rootless, statuses, steps, token } = context;
  const { ipv4, ipv6 } = statuses.find(({ name }) => name === node.name) ?? {};
  const documents = kubeadmDocuments({
    cluster,
    node: cluster.nodes.find(({ name }) => name === node.name)!,
    kubernetes,
    endpoint: `${endpointName(context)}:${apiServerPort}`,
    addresses: { ipv4, ipv6 },
    token,
    skipPhases: absentPhases(context),
    ...(caCertHashes ? { caCertHashes } : {}),
    providerId: `kina://${provider.name}/${cluster.name}/${node.name}`,
    cgroupDriver: cgroupDriver(kubernetes),
    rootless,
    overhead: provider.capabilities.nodeOverhead,
  });
  steps.debug(2, `kubeadm configuration of ${node.name}:\n${documents}`);
  await node.writeFile('/kind/kubeadm.conf', documents, '0600');
}
