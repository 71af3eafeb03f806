/** The end of a cluster: its containers, their volumes, its network. */
import type { Provider } from '../provider/provider.ts';
import { networkName } from './names.ts';

export interface Removed {
  /** Names of the nodes that were there. */
  readonly nodes: readonly string[];
  /** The network, when it stays because other containers use it, e.g. a registry that somebody put beside the nodes. */
  readonly keptNetwork: string | undefined;
}

/** Removes what a provider has of a cluster, complete or not. Nothing there is fine. */
export async function removeCluster(provider: Provider, name: string): Promise<Removed> {
  const nodes = await provider.nodes(name);
  const names = nodes.map((node) => node.name);
  await provider.remove(names);
  const network = networkName(name);
  const gone = await provider.removeNetwork(network);
  return { nodes: names, keptNetwork: gone ? undefined : network };
}
