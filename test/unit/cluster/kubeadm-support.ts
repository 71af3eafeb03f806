/** Clusters of the usual shapes, and their documents. */
import type { Cluster, IpFamily, NodeConfig } from '../../../src/cluster/config/cluster.ts';
import { type KubeadmOptions, kubeadmDocuments } from '../../../src/cluster/kubeadm/documents.ts';
import { cgroupDriver } from '../../../src/oci/node-conventions.ts';
import { kind, load } from './config-support.ts';

export const shapes = {
  single: '[{}]',
  multi: '[{}, {role: worker, labels: {tier: a}}, {role: worker}]',
  ha: '[{}, {}, {}, {role: worker}]',
} as const;
export type Shape = keyof typeof shapes;
export const families: readonly IpFamily[] = ['ipv4', 'ipv6', 'dual'];

/** A shape with further lines of a cluster file. */
export function cluster(shape: Shape = 'single', family: IpFamily = 'ipv4', lines = ''): Cluster {
  const networking = lines.includes('networking:') ? '' : `networking: {ipFamily: ${family}}\n`;
  return load(kind(`name: c\n${networking}nodes: ${shapes[shape]}\n${lines}`));
}

/** The documents of one node as they are once there is a CA; `init` as they are before. */
export function documents(
  from: Cluster,
  kubernetes: string,
  node: NodeConfig = from.nodes[0]!,
  more: Partial<KubeadmOptions> = {},
): string {
  const balanced = from.nodes.filter(({ role }) => role === 'control-plane').length > 1;
  const number = from.nodes.indexOf(node) + 2;
  return kubeadmDocuments({
    cluster: from,
    node,
    kubernetes,
    endpoint: `c-${balanced ? 'external-load-balancer' : 'control-plane'}:6443`,
    addresses: { ipv4: `10.89.0.${number}`, ipv6: `fd00:89::${number}` },
    providerId: `kina://podman/c/${node.name}`,
    cgroupDriver: cgroupDriver(kubernetes),
    token: 'abcdef.0123456789abcdef',
    caCertHashes: [`sha256:${'0'.repeat(64)}`],
    ...more,
  });
}

/** The nodes that differ in more than their name: the first, one more control plane, a worker. */
export function examples({ nodes }: Cluster): NodeConfig[] {
  const [first, second] = nodes.filter(({ role }) => role === 'control-plane');
  return [first, second, nodes.find(({ role }) => role === 'worker')].filter((node) => node !== undefined);
}
