import { stopCluster } from '../../cluster/power.ts';
import { openCluster } from '../../cluster/state.ts';
import { type ClusterFlags, nameOf, warnOfEnvironment, withSteps } from './shared/cluster.ts';

export async function run(flags: ClusterFlags): Promise<void> {
  warnOfEnvironment(flags);
  const cluster = await openCluster(nameOf(flags), flags);
  await withSteps(flags, (steps) => stopCluster(cluster, steps));
}
