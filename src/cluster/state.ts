/** Existing clusters. They are found by the labels of their containers; kina stores nothing about them elsewhere. */
import type { Environment } from '../host/environment.ts';
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

export interface ProviderOption {
  /** Search only this provider. Default: from the environment, else all providers that work. */
  readonly provider?: string | undefined;
  /** Default: the environment of the process. */
  readonly environment?: Environment | undefined;
}

export interface ClusterOption extends ProviderOption {
  /** Name of the cluster. */
  readonly name: string;
}

/** Throws `not-found` with the names of the existing clusters. */
export async function openCluster({ name, ...where }: ClusterOption): Promise<ExistingCluster> {
  const found = await findCluster(name, where.provider, where.environment);
  if (found) return existingCluster(name, found.provider, found.nodes);
  const names = (await listClusters(where)).map((one) => one.name);
  throw new KinaError('not-found', `no nodes found for cluster ${JSON.stringify(name)}${didYouMean(name, names)}`, {
    hint: names.length > 0 ? `Clusters: ${names.join(', ')}.` : 'Create a cluster with `kina create cluster`.',
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

export interface ListedCluster {
  readonly name: string;
  readonly provider: Provider;
  readonly nodes: readonly NodeStatus[];
}

/** All clusters, ordered by name. */
export async function listClusters(where: ProviderOption): Promise<ListedCluster[]> {
  const providers = await providersToSearch(where.provider, where.environment);
  const all = await Promise.all(
    providers.map(async (provider) => {
      const byName = Map.groupBy(await provider.nodes(), (node) => node.cluster);
      return [...byName].map(([name, nodes]) => ({ name, nodes, provider }));
    }),
  );
  return all.flat().sort((a, b) => (a.name < b.name ? -1 : 1));
}

export interface ListedNode extends NodeStatus {
  readonly provider: Provider;
}

/** The nodes of one cluster, or of all. */
export async function listNodes(where: ProviderOption & { readonly name?: string | undefined }): Promise<ListedNode[]> {
  const clusters = (await listClusters(where)).filter(({ name }) => where.name === undefined || name === where.name);
  return clusters.flatMap(({ nodes, provider }) => nodes.map((node) => ({ ...node, provider })));
}

export interface ExecInNodeOptions extends ProviderOption {
  readonly node: string;
  readonly command: readonly string[];
}

/** Runs a command in a node, with the terminal of this process. Returns the exit code. */
export async function execInNode(options: ExecInNodeOptions): Promise<number> {
  const { node, command } = options;
  const nodes = await listNodes({ provider: options.provider, environment: options.environment });
  const found = nodes.find(({ name }) => name === node);
  if (found) return found.provider.attach(node, command);
  const names = nodes.map(({ name }) => name);
  throw new KinaError('not-found', `unknown node: ${JSON.stringify(node)}${didYouMean(node, names)}`);
}

/** Throws `cluster` when all control planes are stopped. */
export function runningControlPlane(cluster: ExistingCluster): Node {
  const node = cluster.nodes.find((one) => one.role === roles.controlPlane && one.status.state === 'running');
  if (node) return node;
  throw new KinaError('cluster', `cluster ${cluster.name} is stopped`, {
    hint: `Start it with \`kina start cluster --name ${cluster.name}\`.`,
  });
}
