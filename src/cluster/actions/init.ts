/**
 * Runs `kubeadm init` on the first control plane. The preflight phase is skipped, as in kind: it would pull images, and
 * it refuses swap and small machines.
 */
import { KinaError } from '../../host/errors.ts';
import { lastLines } from '../../host/process.ts';
import type { ExecResult } from '../../provider/provider.ts';
import { kubeadmFlags } from '../kubeadm/documents.ts';
import type { Node } from '../node.ts';
import { absentPhases, firstControlPlane, type RunningCluster } from './context.ts';
import { writeKubeadmConfig } from './kubeadm-config.ts';

/** Milliseconds. kubeadm itself gives up on a control plane after four minutes. */
export const kubeadmTimeout = 600_000;

export async function initControlPlane(context: RunningCluster): Promise<void> {
  const node = firstControlPlane(context);
  await writeKubeadmConfig(context, node);
  const flags = kubeadmFlags({
    cluster: context.cluster,
    node: context.cluster.nodes.find(({ name }) => name === node.name)!,
    kubernetes: context.kubernetes,
    skipPhases: absentPhases(context),
  });
  const argv = ['kubeadm', 'init', '--config=/kind/kubeadm.conf', '--skip-token-print', '--v=6', ...flags.init];
  const result = await node.exec(argv, { signal: context.signal, timeout: kubeadmTimeout });
  context.steps.debug(3, result.stdout + result.stderr);
  if (result.code !== 0) throw await kubeadmFailure(node, argv, result);
}

/** The error with the last lines of kubeadm and of kubelet: kubeadm only reports that a component did not start. */
export async function kubeadmFailure(node: Node, argv: readonly string[], result: ExecResult): Promise<KinaError> {
  const failure = node.failure(argv, result, 15);
  const journal = await node
    .exec(['journalctl', '--unit=kubelet', '--no-pager', '--lines=10', '--output=cat'], { timeout: 20_000 })
    .catch(() => undefined);
  return new KinaError('cluster', failure.message, {
    details: [...failure.details, 'kubelet:', ...lastLines(journal?.stdout ?? '', 10)],
    hint: 'To see all logs, create the cluster with --retain and run `kina export logs`.',
  });
}
