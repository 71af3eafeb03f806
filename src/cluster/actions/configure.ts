/** Configures the nodes before kubeadm runs: load balancer, host names, pod network of the first node, containerd. */

import { writeHosts } from '../hosts.ts';
import { patchContainerd } from '../kubeadm/containerd.ts';
import type { Node } from '../node.ts';
import { configureLoadBalancer } from './balance.ts';
import type { RunningCluster } from './context.ts';
import { configureFirstNetwork } from './first-range.ts';

export async function configureNodes(context: RunningCluster): Promise<void> {
  const { cluster, loadBalancer, nodes, statuses } = context;
  if (loadBalancer) await configureLoadBalancer(loadBalancer, statuses, cluster.networking.ipFamily);
  await writeHosts(nodes, statuses);
  await Promise.all([configureFirstNetwork(context), ...nodes.map((node) => configureContainerd(context, node))]);
}

/** Applies the patches of the user; containerd reads its configuration only when it starts. */
async function configureContainerd({ cluster }: RunningCluster, node: Node): Promise<void> {
  if (cluster.containerdPatches.length === 0 && cluster.containerdPatches6902.length === 0) return;
  const path = '/etc/containerd/config.toml';
  const patched = patchContainerd(await node.readFile(path), cluster.containerdPatches, cluster.containerdPatches6902);
  await node.writeFile(path, patched);
  await node.run(['systemctl', 'restart', 'containerd']);
}
