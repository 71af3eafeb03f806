/** Deletes a cluster and its kubeconfig entries. */
import { removeCluster } from '../../../cluster/delete.ts';
import { removeFromKubeconfig } from '../../../cluster/kubeconfig/kubeconfig.ts';
import { contextName } from '../../../cluster/names.ts';
import { providersToSearch } from '../../../provider/select.ts';
import type { GlobalFlags } from '../../terminal/context.ts';
import { quoted, say } from './cluster.ts';

export interface DeleteFlags extends GlobalFlags {
  readonly kubeconfig: string | undefined;
  readonly provider: string | undefined;
}

/** Removes the kubeconfig entries first, then the nodes on every provider. False if there were no nodes. */
export async function removeEverywhere(name: string, flags: DeleteFlags): Promise<boolean> {
  let trouble: unknown;
  let found = false;
  try {
    await removeFromKubeconfig(contextName(name), { explicit: flags.kubeconfig });
  } catch (error) {
    trouble = error;
  }
  for (const provider of await providersToSearch(flags.provider)) {
    const { nodes, keptNetwork } = await removeCluster(provider, name);
    found ||= nodes.length > 0;
    if (nodes.length > 0) say(flags, `Deleted nodes: ${quoted(nodes)}`);
    if (keptNetwork) say(flags, `Keeping network ${keptNetwork}: other containers use it`);
  }
  if (trouble) throw trouble;
  return found;
}
