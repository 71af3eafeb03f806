import { deleteCluster } from '../../cluster/delete.ts';
import { type ClusterFlags, nameOf, say, warnOfEnvironment } from './shared/cluster.ts';

export async function run(flags: ClusterFlags & { readonly kubeconfig: string | undefined }): Promise<void> {
  warnOfEnvironment(flags);
  const name = nameOf(flags);
  const { kubeconfig, provider } = flags;
  say(flags, `Deleting cluster "${name}" ...`);
  await deleteCluster({ name, kubeconfig, provider, steps: { info: (text) => say(flags, text) } });
}
