import { mergeKubeconfig } from '../../cluster/kubeconfig/kubeconfig.ts';
import { startCluster } from '../../cluster/power.ts';
import { openCluster } from '../../cluster/state.ts';
import { type ClusterFlags, duration, nameOf, warnOfEnvironment, withSteps } from './shared/cluster.ts';
import { kubeconfigOf } from './shared/kubeconfig.ts';

interface StartFlags extends ClusterFlags {
  readonly wait: string;
  readonly kubeconfig: string | undefined;
}

export async function run(flags: StartFlags): Promise<void> {
  warnOfEnvironment(flags);
  const wait = duration(flags.wait, '--wait');
  const cluster = await openCluster(nameOf(flags), flags);
  await withSteps(flags, (steps, signal) => startCluster(cluster, { steps, signal, wait }));
  // The runtime may have picked a different port for the API server.
  const now = await openCluster(cluster.name, flags);
  await mergeKubeconfig(await kubeconfigOf(now, false), { explicit: flags.kubeconfig });
}
