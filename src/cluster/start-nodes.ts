/** Creates the network and the containers of a cluster, all nodes at once, and waits until they have booted. */
import { randomBytes } from 'node:crypto';
import { KinaError } from '../host/errors.ts';
import { firstControlPlane, type PlannedCluster, type RunningCluster } from './actions/context.ts';
import { bootstrapToken } from './actions/join.ts';
import { bootLimit, waitForBoot } from './boot.ts';
import { checkKernels } from './kernel.ts';
import { loadBalancerName, networkName } from './names.ts';
import { Node } from './node.ts';
import { apiServerOf, loadBalancerSpec, nodeSpecs } from './specs.ts';

export async function startNodes(planned: PlannedCluster): Promise<RunningCluster> {
  const { cluster, provider, signal, steps } = planned;
  await createContainers(planned);
  signal.throwIfAborted();
  const statuses = await provider.nodes(cluster.name);
  const nodeNamed = (name: string): Node => {
    const status = statuses.find((one) => one.name === name);
    if (status) return new Node(provider, status);
    throw new KinaError('cluster', `node ${name} was removed while the cluster was being created`);
  };
  const nodes = cluster.nodes.map(({ name }) => nodeNamed(name));
  const booted = await settleAll(nodes.map((node) => waitForBoot(node, bootLimit, signal)));
  await checkKernels(cluster, nodes, signal);
  for (const [i, { failed }] of booted.entries())
    if (failed.length > 0) steps.warn(`units failed on ${nodes[i]!.name}: ${failed.join(', ')}`);
  return {
    ...planned,
    nodes,
    loadBalancer: planned.loadBalancerImage === undefined ? undefined : nodeNamed(loadBalancerName(cluster.name)),
    statuses,
    awaited: nodes.map(({ name }, i) => ({ name, since: booted[i]!.since })),
    kubernetes: booted[nodes.indexOf(firstControlPlane({ nodes }))]!.kubernetes,
    server: apiServerOf(cluster, statuses),
    token: bootstrapToken(randomBytes),
  };
}

async function createContainers(planned: PlannedCluster): Promise<void> {
  const { cluster, environment: host, image, loadBalancerImage, provider, rootless, signal, taken } = planned;
  const network = networkName(cluster.name);
  const subnets = await provider.ensureNetwork({
    name: network,
    ipv6: cluster.networking.ipFamily !== 'ipv4',
    nodes: cluster.nodes.length + (loadBalancerImage ? 1 : 0),
    mtu: cluster.networking.mtu,
  });
  const balanced = loadBalancerImage !== undefined;
  const specs = await nodeSpecs(cluster, { host, network, subnets, image, rootless, balanced, taken });
  if (loadBalancerImage) specs.push(await loadBalancerSpec(cluster, network, loadBalancerImage, taken));
  await settleAll(specs.map((spec) => provider.create(spec, signal)));
}

/** Like `Promise.all`, but waits for the others after a failure, so that clean-up does not race against them. */
async function settleAll<T>(work: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(work);
  return Promise.all(work);
}
