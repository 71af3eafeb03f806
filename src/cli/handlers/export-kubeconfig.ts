import { exportKubeconfig } from '../../cluster/kubeconfig/export.ts';
import { type ClusterFlags, nameOf, say, warnOfEnvironment } from './shared/cluster.ts';

interface ExportFlags extends ClusterFlags {
  readonly kubeconfig: string | undefined;
  readonly internal: boolean;
}

export async function run(flags: ExportFlags): Promise<void> {
  warnOfEnvironment(flags);
  const { internal, kubeconfig, provider } = flags;
  const { context } = await exportKubeconfig({ name: nameOf(flags), provider, internal, kubeconfig });
  say(flags, `Set kubectl context to "${context}"`);
}
