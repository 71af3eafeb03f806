/** Deletes clusters: containers, volumes, network, and the entry in the kubeconfig. */
import type { Steps } from '../host/progress.ts';
import type { Provider } from '../provider/provider.ts';
import { providersToSearch } from '../provider/select.ts';
import { removeFromKubeconfig } from './kubeconfig/kubeconfig.ts';
import { contextName, networkName } from './names.ts';
import { type ClusterOption, listClusters, type ProviderOption } from './state.ts';

interface RemovedCluster {
  /** Names of the nodes that existed. */
  readonly nodes: readonly string[];
  /** The network, if other containers still use it, e.g. a registry. */
  readonly keptNetwork: string | undefined;
}

/** Removes what one provider has of a cluster. Removing a missing cluster succeeds. */
export async function removeCluster(provider: Provider, name: string): Promise<RemovedCluster> {
  const nodes = (await provider.nodes(name)).map((node) => node.name);
  await provider.remove(nodes);
  const network = networkName(name);
  const gone = await provider.removeNetwork(network);
  return { nodes, keptNetwork: gone ? undefined : network };
}

interface DeletionOptions {
  /** Path of the kubeconfig file. Default: all files that kubectl reads. */
  readonly kubeconfig?: string | undefined;
  /** Receives what was deleted, for people. */
  readonly steps: Pick<Steps, 'info'>;
}

export interface DeleteClusterOptions extends ClusterOption, DeletionOptions {}

export interface DeletedCluster {
  /** Names of the deleted nodes; none for a missing cluster. */
  readonly nodes: readonly string[];
}

/**
 * Deletes a cluster from all providers. Deleting a missing cluster succeeds. An error of the kubeconfig is thrown after
 * the nodes have been deleted.
 */
export async function deleteCluster(options: DeleteClusterOptions): Promise<DeletedCluster> {
  const { name, environment, steps } = options;
  const choice = { explicit: options.kubeconfig, ...(environment ? { env: environment } : {}) };
  // First: nodes without an entry can still be found and deleted, an entry without nodes is useless.
  const entry = await Promise.allSettled([removeFromKubeconfig(contextName(name), choice)]);
  const deleted: string[] = [];
  for (const provider of await providersToSearch(options.provider, environment)) {
    const { nodes, keptNetwork } = await removeCluster(provider, name);
    deleted.push(...nodes);
    if (nodes.length > 0) steps.info(`Deleted nodes: ${quoted(nodes)}`);
    if (keptNetwork) steps.info(`Keeping the network ${keptNetwork}: other containers use it.`);
  }
  for (const result of entry) if (result.status === 'rejected') throw result.reason;
  return { nodes: deleted };
}

export interface DeleteClustersOptions extends ProviderOption, DeletionOptions {
  /** Names of clusters; `all` deletes every cluster. */
  readonly clusters: readonly string[] | 'all';
}

export interface DeletedClusters {
  readonly deleted: readonly string[];
  /** Clusters that had no nodes. */
  readonly missing: readonly string[];
  /** One line for each failure. */
  readonly failures: readonly string[];
}

/** Deletes several clusters. A failure of one does not keep the others from being deleted. */
export async function deleteClusters({ clusters, ...options }: DeleteClustersOptions): Promise<DeletedClusters> {
  const names = clusters === 'all' ? (await listClusters(options)).map((one) => one.name) : clusters;
  const result = { deleted: [] as string[], missing: [] as string[], failures: [] as string[] };
  for (const name of new Set(names))
    try {
      const { nodes } = await deleteCluster({ ...options, name });
      result[nodes.length > 0 ? 'deleted' : 'missing'].push(name);
    } catch (error) {
      result.failures.push(`${name}: ${error instanceof Error ? error.message : error}`);
    }
  return result;
}

/** A list in kind's format: `["a" "b"]`. */
export const quoted = (names: readonly string[]): string => `[${names.map((name) => JSON.stringify(name)).join(' ')}]`;
