import { startCluster } from '../../cluster/power.ts';
import { type ClusterFlags, duration, nameOf, warnOfEnvironment, withSteps } from './shared/cluster.ts';

interface StartFlags extends ClusterFlags {
  readonly wait: string;
  readonly kubeconfig: string | undefined;
}

export async function run(flags: StartFlags): Promise<void> {
  warnOfEnvironment(flags);
  const wait = duration(flags.wait, '--wait');
  const { kubeconfig, provider } = flags;
  await withSteps(flags, (steps, signal) =>
    startCluster({ name: nameOf(flags), provider, kubeconfig, steps, signal, wait }),
  );
}
