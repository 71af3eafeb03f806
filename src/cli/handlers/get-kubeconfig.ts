import { getKubeconfig } from '../../cluster/kubeconfig/export.ts';
import { answer } from '../terminal/context.ts';
import { type ClusterFlags, nameOf, warnOfEnvironment } from './shared/cluster.ts';

export async function run(flags: ClusterFlags & { readonly internal: boolean }): Promise<void> {
  warnOfEnvironment(flags);
  answer(await getKubeconfig({ name: nameOf(flags), provider: flags.provider, internal: flags.internal }));
}
