import { openCluster } from '../../cluster/state.ts';
import { answer } from '../terminal/context.ts';
import { type ClusterFlags, nameOf, warnOfEnvironment } from './shared/cluster.ts';
import { kubeconfigOf } from './shared/kubeconfig.ts';

export async function run(flags: ClusterFlags & { readonly internal: boolean }): Promise<void> {
  warnOfEnvironment(flags);
  answer(await kubeconfigOf(await openCluster(nameOf(flags), flags), flags.internal));
}
