/** The kubeconfig of a running cluster. */
import { clusterKubeconfig } from '../../../cluster/kubeconfig/admin.ts';
import { apiServerPort, contextName } from '../../../cluster/names.ts';
import { apiServerOf } from '../../../cluster/specs.ts';
import { type ExistingCluster, runningControlPlane } from '../../../cluster/state.ts';

export async function kubeconfigOf(cluster: ExistingCluster, internal: boolean): Promise<string> {
  const node = runningControlPlane(cluster);
  const inside = `https://${(cluster.loadBalancer ?? node).name}:${apiServerPort}`;
  return clusterKubeconfig(await node.readFile('/etc/kubernetes/admin.conf'), {
    name: contextName(cluster.name),
    server: internal ? inside : apiServerOf(cluster, cluster.statuses),
  });
}
