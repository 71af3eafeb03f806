import { mergeKubeconfig } from '../../cluster/kubeconfig/kubeconfig.ts';
import { contextName } from '../../cluster/names.ts';
import { openCluster } from '../../cluster/state.ts';
import { type ClusterFlags, nameOf, say, warnOfEnvironment } from './shared/cluster.ts';
import { kubeconfigOf } from './shared/kubeconfig.ts';

interface ExportFlags extends ClusterFlags {
  readonly kubeconfig: string | undefined;
  readonly internal: boolean;
}

export async function run(flags: ExportFlags): Promise<void> {
  warnOfEnvironment(flags);
  const name = nameOf(flags);
  const text = await kubeconfigOf(await openCluster(name, flags), flags.internal);
  await mergeKubeconfig(text, { explicit: flags.kubeconfig });
  say(flags, `Set kubectl context to "${contextName(name)}"`);
}
