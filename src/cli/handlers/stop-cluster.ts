import { stopCluster } from '../../cluster/power.ts';
import { type ClusterFlags, nameOf, warnOfEnvironment, withSteps } from './shared/cluster.ts';

export async function run(flags: ClusterFlags): Promise<void> {
  warnOfEnvironment(flags);
  await withSteps(flags, (steps) => stopCluster({ name: nameOf(flags), provider: flags.provider, steps }));
}
