/** The end of a cluster: its containers, their volumes, its network. */
import { KinaError } from '../host/errors.ts';
import type { Provider } from '../provider/provider.ts';
import { networkName } from './names.ts';

/** Removes what a provider has of a cluster, complete or not; the names of its nodes. Nothing there is fine. */
export async function removeCluster(provider: Provider, name: string): Promise<string[]> {
  const nodes = await provider.nodes(name);
  const names = nodes.map((node) => node.name);
  await provider.remove(names);
  if (!(await provider.removeNetwork(networkName(name))))
    throw new KinaError('provider', `the network ${networkName(name)} is still used by other containers`, {
      hint: `Stop them; then \`${provider.name} network rm ${networkName(name)}\`.`,
    });
  return names;
}
