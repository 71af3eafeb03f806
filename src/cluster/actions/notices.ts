/** Messages about limits that people would otherwise find out by themselves, one line each. */
import type { PlannedCluster, ProvisionOptions } from './context.ts';

/** Warns about keys of the configuration that the provider does not support; one file may serve several providers. */
export function warnAboutIgnoredKeys({ cluster, provider, steps }: ProvisionOptions): void {
  const using = (key: 'disk' | 'kernel' | 'rosetta') =>
    cluster.nodes
      .filter((node) => node[key] !== undefined)
      .map(({ name }) => name)
      .join(', ');
  if (using('disk')) steps.warn(`disk of ${using('disk')} is ignored: no provider can set it for a single node`);
  if (using('kernel') && !provider.capabilities.nodeKernel)
    steps.warn(`kernel of ${using('kernel')} is ignored: nodes on ${provider.name} share the kernel of the host`);
  if (using('rosetta') && !provider.capabilities.rosetta)
    steps.warn(`rosetta of ${using('rosetta')} is ignored: only Apple's container supports it`);
}

export function reportLimits({ absent, steps, cluster }: PlannedCluster): void {
  const { cni } = cluster.networking;
  if (absent.has('coredns'))
    steps.warn('this node image does not contain CoreDNS: pods reach Services by address, not by name');
  if (cni === 'none')
    steps.info('No pod network was installed. Nodes stay NotReady until you install one; not waiting for them.');
  else if (cni === 'default') steps.info('The default network does not enforce NetworkPolicy.');
  if (cluster.nodes.length > 1)
    steps.info('Storage class "standard" keeps data on one node; only pods on that node can use it.');
}
