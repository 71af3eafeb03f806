import { loadCluster } from '../../cluster/config/cluster.ts';
import { processEnvironment } from '../../host/environment.ts';
import { answer } from '../terminal/context.ts';
import { warn } from '../terminal/stderr.ts';
import { readConfig, warnOfEnvironment } from './shared/cluster.ts';

export async function run(flags: { readonly allowEvenControlPlanes: boolean }, file: string): Promise<void> {
  warnOfEnvironment({});
  const cluster = loadCluster({
    ...(await readConfig(file)),
    overrides: { allowEvenControlPlanes: flags.allowEvenControlPlanes },
    cwd: process.cwd(),
    env: processEnvironment(),
  });
  for (const warning of cluster.warnings) warn(warning);
  const roles = cluster.nodes.map((node) => node.role);
  const count = (role: string): number => roles.filter((one) => one === role).length;
  answer(
    `${file}: valid; cluster ${cluster.name}, ${count('control-plane')} control plane(s), ${count('worker')} worker(s)`,
  );
}
