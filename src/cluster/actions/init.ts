/**
 * `kubeadm init` on the first control plane.
 *
 * preflight is left out as kind does: it would pull images and refuses swap and small machines. The addon phase for
 * CoreDNS is left out when the image says that it brings none: a Deployment that can never start helps nobody.
 */
import { KinaError } from '../../host/errors.ts';
import { lastLines } from '../../host/process.ts';
import { kubeadmFlags } from '../kubeadm/documents.ts';
import { type CreateContext, firstControlPlane } from './context.ts';

/** Seconds; kubeadm itself gives up on a control plane after four minutes. */
const limit = 600;

export async function initControlPlane(context: CreateContext): Promise<void> {
  const node = firstControlPlane(context);
  const flags = kubeadmFlags({
    cluster: context.cluster,
    node: context.cluster.nodes.find(({ name }) => name === node.name)!,
    kubernetes: context.kubernetes,
    skipPhases: skippedPhases(context),
  });
  const argv = ['kubeadm', 'init', '--config=/kind/kubeadm.conf', '--skip-token-print', '--v=6', ...flags.init];
  const result = await node.exec(argv, { signal: context.signal, timeout: limit * 1000 });
  context.steps.debug(3, result.stdout + result.stderr);
  if (result.code !== 0) throw await kubeadmFailure(node, argv, result);
}

/** Phases that this cluster goes without, besides those that no node in a container has. */
export function skippedPhases({ absent }: Pick<CreateContext, 'absent'>): string[] {
  return absent.has('coredns') ? ['addon/coredns'] : [];
}

/** What kubeadm said, and what kubelet said meanwhile: kubeadm only knows that something did not come up. */
export async function kubeadmFailure(
  node: ReturnType<typeof firstControlPlane>,
  argv: readonly string[],
  result: Parameters<typeof node.failure>[1],
): Promise<KinaError> {
  const failure = node.failure(argv, result, 15);
  const journal = await node
    .exec(['journalctl', '--unit=kubelet', '--no-pager', '--lines=10', '--output=cat'], { timeout: 20_000 })
    .catch(() => undefined);
  return new KinaError('cluster', failure.message, {
    details: [...failure.details, 'kubelet:', ...lastLines(journal?.stdout ?? '', 10)],
    hint: 'See everything with --retain and `kina export logs`.',
  });
}
