/**
 * The making of a cluster: a list of steps, each a small action. What can be wrong in a configuration is known before the
 * first of them; whatever fails afterwards, or Ctrl-C, takes back what was made, unless it is to be kept for a look.
 *
 * Nodes boot at once. After `kubeadm init` the pod network, storage and all joins run side by side; only control planes
 * join one after the other, because etcd takes one new member at a time.
 */
import { randomBytes } from 'node:crypto';
import { KinaError } from '../host/errors.ts';
import type { Steps } from '../host/progress.ts';
import { cgroupDriver, labels } from '../oci/node-conventions.ts';
import type { EngineImage, NodeStatus, Provider } from '../provider/provider.ts';
import { endpointName, installAddons, openControlPlane } from './actions/addons.ts';
import { configureLoadBalancer } from './actions/balance.ts';
import { type CreateContext, controlPlanes, firstControlPlane, workers } from './actions/context.ts';
import { configureFirstNetwork } from './actions/first-range.ts';
import { initControlPlane, skippedPhases } from './actions/init.ts';
import { bootstrapToken, caCertHash, join, joinControlPlane, readSharedKeys } from './actions/join.ts';
import { waitForBoot } from './boot.ts';
import type { Cluster } from './config/cluster.ts';
import { removeCluster } from './delete.ts';
import { namePeers, renewWatches } from './etcd.ts';
import { writeHosts } from './hosts.ts';
import { checkKernels } from './kernel.ts';
import { checkContainerdPatches, patchContainerd } from './kubeadm/containerd.ts';
import { checkPatches, kubeadmDocuments } from './kubeadm/documents.ts';
import { apiServerPort, loadBalancerName, networkName } from './names.ts';
import { Node } from './node.ts';
import { warnIfUnreachable } from './reach.ts';
import { checkRootless } from './rootless.ts';
import { apiServerOf, loadBalancerSpec, nodeSpecs } from './specs.ts';
import { type AwaitedNode, waitForCluster } from './wait.ts';

export interface CreateRequest {
  readonly cluster: Cluster;
  readonly provider: Provider;
  /** Image of nodes that name none. */
  readonly image: string;
  /** Image of the load balancer, made when there are several control planes. */
  readonly loadBalancerImage: () => Promise<string>;
  /** Sees to it that the runtime has an image; answers with it. */
  readonly ensureImage: (reference: string, say: (note: string) => void) => Promise<EngineImage>;
  /** Seconds to wait for a usable cluster; 0: do not. */
  readonly wait: number;
  readonly retain: boolean;
  /** What happens to the kubeconfig of a cluster that runs. */
  readonly writeKubeconfig: (adminConf: string, server: string) => Promise<void>;
  readonly steps: Steps;
  readonly signal: AbortSignal;
}

export interface CreatedCluster {
  readonly nodes: readonly NodeStatus[];
  readonly kubernetes: string;
  /** Where the API server is from this machine. */
  readonly server: string;
}

export async function createCluster(request: CreateRequest): Promise<CreatedCluster> {
  const { cluster, provider, steps, signal } = request;
  const others = await provider.nodes();
  const existing = others.filter((node) => node.cluster === cluster.name);
  if (existing.length > 0)
    throw new KinaError(
      'conflict',
      `node(s) already exist for a cluster with the name ${JSON.stringify(cluster.name)}`,
      {
        details: existing.map((node) => `${node.name} (${node.state})`),
        hint: 'Choose another --name, or `kina delete cluster` first.',
      },
    );
  const rootless = await checkRootless(provider);
  sayWhatIsIgnored(request);
  const images = await ensureImages(request);
  const context: CreateContext = {
    cluster,
    provider,
    steps,
    signal,
    rootless,
    taken: new Set(others.flatMap(({ ports }) => ports.map((port) => port.hostPort))),
    nodes: [],
    loadBalancer: undefined,
    kubernetes: '',
    absent: new Set(images.get(nodeImage(request))?.labels[labels.absent]?.split(',').filter(Boolean)),
  };
  try {
    return await build(request, context);
  } catch (error) {
    if (!request.retain) await takeBack(provider, cluster.name, steps);
    throw error;
  }
}

const nodeImage = ({ cluster, image }: CreateRequest): string =>
  cluster.nodes.find((node) => node.role === 'control-plane')?.image ?? image;

async function ensureImages(request: CreateRequest): Promise<Map<string, EngineImage>> {
  const wanted = new Set(request.cluster.nodes.map((node) => node.image ?? request.image));
  const found = new Map<string, EngineImage>();
  for (const reference of wanted)
    await request.steps.step(`Ensuring node image (${reference})`, async (say) => {
      found.set(reference, await request.ensureImage(reference, say));
    });
  // Only what is known is checked now; nodes of other makers tell their version when they run.
  const versions = (label: string): string[] => [
    ...new Set([...found.values()].flatMap((image) => image.labels[label] ?? [])),
  ];
  checkPatches(request.cluster, versions(labels.kubernetes));
  for (const containerd of versions(labels.component('containerd')))
    checkContainerdPatches(request.cluster, containerd);
  return found;
}

async function build(request: CreateRequest, context: CreateContext): Promise<CreatedCluster> {
  const { cluster, steps, signal } = request;
  const several = cluster.nodes.filter((node) => node.role === 'control-plane').length > 1;
  const balancerImage = several
    ? await steps.step('Ensuring the load balancer image', async (say) => {
        const reference = await request.loadBalancerImage();
        await request.ensureImage(reference, say);
        return reference;
      })
    : undefined;

  const { statuses, awaited } = await steps.step(`Preparing nodes (${cluster.nodes.length})`, () =>
    prepareNodes(request, context, balancerImage),
  );
  await steps.step('Writing configuration', async () => {
    if (context.loadBalancer) await configureLoadBalancer(context.loadBalancer, statuses, cluster.networking.ipFamily);
    await writeHosts(context.nodes, statuses);
    await Promise.all([configureFirstNetwork(context), ...context.nodes.map((node) => patchRuntime(context, node))]);
  });
  const configure = configurator(context, statuses);
  await startControlPlane(context, configure);
  const adminConf = await joinNodes(context, configure);
  sayWhatIsMissing(context);

  const server = apiServerOf(cluster, statuses);
  await request.writeKubeconfig(adminConf, server);
  if (request.wait > 0 && cluster.networking.cni !== 'none')
    await steps.step(`Waiting up to ${request.wait} s for nodes and system workloads`, async (say) => {
      const since = performance.now();
      await waitForCluster(firstControlPlane(context), awaited, request.wait, signal);
      say(`ready after ${Math.round((performance.now() - since) / 1000)} s`);
    });
  if (request.wait > 0) await warnIfUnreachable(server, request.provider, steps);
  return { nodes: statuses, kubernetes: context.kubernetes, server };
}

/** Network, containers, boot. Every failure is waited for, so that nothing is still being made while it is taken back. */
async function prepareNodes(
  request: CreateRequest,
  context: CreateContext,
  balancerImage: string | undefined,
): Promise<{ statuses: NodeStatus[]; awaited: AwaitedNode[] }> {
  const { cluster, provider, signal } = request;
  const network = networkName(cluster.name);
  const subnets = await provider.ensureNetwork({
    name: network,
    ipv6: cluster.networking.ipFamily !== 'ipv4',
    nodes: cluster.nodes.length + (balancerImage ? 1 : 0),
    mtu: cluster.networking.mtu,
  });
  const { taken } = context;
  const specs = await nodeSpecs(cluster, {
    network,
    subnets,
    image: request.image,
    rootless: context.rootless,
    balanced: balancerImage !== undefined,
    taken,
  });
  if (balancerImage) specs.push(await loadBalancerSpec(cluster, network, balancerImage, taken));
  await all(specs.map((spec) => provider.create(spec, signal)));
  signal.throwIfAborted();
  const statuses = await provider.nodes(cluster.name);
  const byName = new Map(statuses.map((status) => [status.name, status]));
  const node = (name: string): Node => {
    const status = byName.get(name);
    if (!status) throw new KinaError('cluster', `node ${name} is gone: somebody else removed it`);
    return new Node(provider, status);
  };
  context.nodes = cluster.nodes.map(({ name }) => node(name));
  if (balancerImage) context.loadBalancer = node(loadBalancerName(cluster.name));
  const booted = await all(context.nodes.map((one) => waitForBoot(one, 180, signal)));
  await checkKernels(cluster, context.nodes, signal);
  for (const [i, { failed }] of booted.entries())
    if (failed.length > 0) request.steps.warn(`units failed on ${context.nodes[i]!.name}: ${failed.join(', ')}`);
  context.kubernetes = booted[context.nodes.indexOf(firstControlPlane(context))]!.kubernetes;
  return { statuses, awaited: context.nodes.map(({ name }, i) => ({ name, since: booted[i]!.since })) };
}

/** All of them, also after one has failed; then the first failure. */
async function all<T>(work: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(work);
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
}

/** containerd's configuration with the user's patches; a restart makes it read them. */
async function patchRuntime({ cluster }: CreateContext, node: Node): Promise<void> {
  if (cluster.containerdPatches.length === 0 && cluster.containerdPatches6902.length === 0) return;
  const path = '/etc/containerd/config.toml';
  const patched = patchContainerd(await node.readFile(path), cluster.containerdPatches, cluster.containerdPatches6902);
  await node.writeFile(path, patched);
  await node.run(['systemctl', 'restart', 'containerd']);
}

/** kubeadm's documents for a node; the hash of the CA is known once there is one. */
function configurator(context: CreateContext, statuses: readonly NodeStatus[]) {
  const { cluster, kubernetes, provider, steps } = context;
  const token = bootstrapToken(randomBytes);
  const addresses = new Map(statuses.map(({ name, ipv4, ipv6 }) => [name, { ipv4, ipv6 }]));
  return (node: Node, caCertHashes?: readonly string[]): string => {
    const documents = kubeadmDocuments({
      cluster,
      node: cluster.nodes.find(({ name }) => name === node.name)!,
      kubernetes,
      endpoint: `${endpointName(context)}:${apiServerPort}`,
      addresses: addresses.get(node.name) ?? {},
      token,
      skipPhases: skippedPhases(context),
      ...(caCertHashes ? { caCertHashes } : {}),
      providerId: `kina://${provider.name}/${cluster.name}/${node.name}`,
      cgroupDriver: cgroupDriver(kubernetes),
      rootless: context.rootless,
      overhead: provider.nodeOverhead,
    });
    steps.debug(2, `kubeadm configuration of ${node.name}:\n${documents}`);
    return documents;
  };
}

/** `kubeadm init`; network and storage go in while it is still at work. */
async function startControlPlane(context: CreateContext, configure: (node: Node) => string): Promise<void> {
  const { steps, signal } = context;
  const first = firstControlPlane(context);
  await first.writeFile('/kind/kubeadm.conf', configure(first), '0600');
  const failed = new AbortController();
  const init = initControlPlane(context).catch((error) => {
    failed.abort(error);
    throw error;
  });
  await all([
    steps.step('Starting control plane', () => init),
    steps.step('Installing network and storage', () =>
      installAddons(context, AbortSignal.any([signal, failed.signal])),
    ),
  ]);
}

/** After `kubeadm init`: all other nodes, as far as they can at once. Answers with admin.conf. */
async function joinNodes(
  context: CreateContext,
  configure: (node: Node, hashes: readonly string[]) => string,
): Promise<string> {
  const { steps } = context;
  const first = firstControlPlane(context);
  const answer = await first.shell('cat /etc/kubernetes/admin.conf; echo ---; cat /etc/kubernetes/pki/ca.crt');
  const [adminConf = '', ca = ''] = answer.split('\n---\n');
  const hashes = [caCertHash(ca)];
  const writeConfig = (node: Node) => node.writeFile('/kind/kubeadm.conf', configure(node, hashes), '0600');
  const others = controlPlanes(context).slice(1);
  const members = workers(context);
  const jobs: Promise<unknown>[] = [];
  if (context.nodes.length === 1) jobs.push(openControlPlane(context));
  if (others.length > 0)
    jobs.push(
      steps.step(`Joining control planes (${others.length})`, async (say) => {
        const keys = await readSharedKeys(context);
        for (const node of others) {
          say(node.name);
          await writeConfig(node);
          await joinControlPlane(context, node, keys);
        }
        await namePeers(first);
        await renewWatches(first, context.kubernetes, context.signal);
      }),
    );
  if (members.length > 0)
    jobs.push(
      steps.step(`Joining workers (${members.length})`, () =>
        all(
          members.map(async (node) => {
            await writeConfig(node);
            await join(context, node);
          }),
        ),
      ),
    );
  await all(jobs);
  return adminConf;
}

/** Keys of the configuration that this runtime has no use for: one file may serve several. */
function sayWhatIsIgnored({ cluster, provider, steps }: CreateRequest): void {
  const named = (key: 'disk' | 'kernel' | 'rosetta') =>
    cluster.nodes.filter((node) => node[key] !== undefined).map(({ name }) => name);
  if (named('disk').length > 0)
    steps.warn(`disk of ${named('disk').join(', ')} is passed over: no runtime sets that for one node`);
  if (named('kernel').length > 0 && provider.name !== 'apple')
    steps.warn(`kernel of ${named('kernel').join(', ')} is passed over: nodes on ${provider.name} share the host's`);
  if (named('rosetta').length > 0 && provider.name !== 'apple')
    steps.warn(`rosetta of ${named('rosetta').join(', ')} is passed over: only Apple's container has it`);
}

/** What people would otherwise find out by themselves, one line each. */
function sayWhatIsMissing({ absent, steps, cluster }: CreateContext): void {
  const { cni } = cluster.networking;
  if (absent.has('coredns')) steps.warn('this node image has no CoreDNS: pods reach Services by address, not by name');
  if (cni === 'none')
    steps.info('No pod network was installed: nodes stay NotReady until one is, so they are not waited for.');
  else if (cni === 'default') steps.info('NetworkPolicy is not enforced by the default network.');
  if (cluster.nodes.length > 1)
    steps.info('Storage class "standard" keeps data on one node: a pod finds it again only there.');
}

async function takeBack(provider: Provider, name: string, steps: Steps): Promise<void> {
  try {
    await steps.step('Taking back what was made', () => removeCluster(provider, name));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    steps.warn(`not everything could be removed (${why}); try \`kina delete cluster --name ${name}\``);
  }
}
