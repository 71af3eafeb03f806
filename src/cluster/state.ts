/** Clusters as they are: found by labels, nothing is remembered anywhere else. */
import { KinaError } from '../host/errors.ts';
import { didYouMean } from '../host/suggest.ts';
import type { NodeStatus, Provider } from '../provider/provider.ts';
import { findCluster, providersToSearch } from '../provider/select.ts';
import { roles } from './names.ts';
import { Node } from './node.ts';

export interface ExistingCluster {
  readonly name: string;
  readonly provider: Provider;
  readonly statuses: readonly NodeStatus[];
  /** Kubernetes nodes, control planes first, each group in the order of creation. */
  readonly nodes: readonly Node[];
  readonly loadBalancer: Node | undefined;
}

/** Which provider to look on: `--provider`; absent means all that work. */
export interface Where {
  readonly provider?: string | undefined;
}

export async function openCluster(name: string, where: Where): Promise<ExistingCluster> {
  const found = await findCluster(name, where.provider);
  if (found) return existingCluster(name, found.provider, found.nodes);
  const names = (await listClusters(where)).map((one) => one.name);
  throw new KinaError('not-found', `no nodes found for cluster ${JSON.stringify(name)}${didYouMean(name, names)}`, {
    hint: names.length > 0 ? `Clusters: ${names.join(', ')}.` : 'There is no cluster; see `kina create cluster`.',
  });
}

export function existingCluster(name: string, provider: Provider, statuses: readonly NodeStatus[]): ExistingCluster {
  const nodes = statuses.map((status) => new Node(provider, status));
  const inOrder = (role: string) => nodes.filter((node) => node.role === role).sort(byCreation);
  return {
    name,
    provider,
    statuses,
    nodes: [...inOrder(roles.controlPlane), ...inOrder(roles.worker)],
    loadBalancer: nodes.find((node) => node.role === roles.loadBalancer),
  };
}

/** `x-worker`, `x-worker2`, …, `x-worker10`. */
function byCreation(one: Node, other: Node): number {
  return one.name.length - other.name.length || (one.name < other.name ? -1 : 1);
}

export async function listClusters(where: Where): Promise<{ name: string; nodes: NodeStatus[]; provider: Provider }[]> {
  const providers = await providersToSearch(where.provider);
  const all = await Promise.all(
    providers.map(async (provider) => {
      const clusters = new Map<string, NodeStatus[]>();
      for (const node of await provider.nodes())
        clusters.set(node.cluster, [...(clusters.get(node.cluster) ?? []), node]);
      return [...clusters].map(([name, nodes]) => ({ name, nodes, provider }));
    }),
  );
  return all.flat().sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The control plane that answers for the cluster. Throws `cluster` when none runs. */
export function runningControlPlane(cluster: ExistingCluster): Node {
  const node = cluster.nodes.find((one) => one.role === roles.controlPlane && one.status.state === 'running');
  if (node) return node;
  throw new KinaError('cluster', `cluster ${cluster.name} is stopped`, {
    hint: `Start it with \`kina start cluster --name ${cluster.name}\`.`,
  });
}
