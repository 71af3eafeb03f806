/**
 * Creates a cluster: plan, start the nodes, then the list of actions below. After a failure, or Ctrl-C, everything that
 * was created is removed again unless `retain` is set.
 */
import type { Steps } from '../host/progress.ts';
import type { NodeStatus, Provider } from '../provider/provider.ts';
import { allowLoadBalancing, installAddons } from './actions/addons.ts';
import { configureNodes } from './actions/configure.ts';
import {
  controlPlanes,
  firstControlPlane,
  type ProvisionOptions,
  type RunningCluster,
  workers,
} from './actions/context.ts';
import { initControlPlane } from './actions/init.ts';
import { joinControlPlanes, joinWorkers } from './actions/join.ts';
import { reportLimits } from './actions/notices.ts';
import { type Action, runActions } from './actions/run.ts';
import { warnIfUnreachable } from './connectivity.ts';
import { removeCluster } from './delete.ts';
import { planCluster } from './plan.ts';
import { startNodes } from './start-nodes.ts';
import { waitAndReport } from './wait.ts';

/** kubeadm needs seconds after the API server answers; the pods of the network can start in that time. */
const actions: readonly Action<RunningCluster>[] = [
  { name: 'configure', title: 'Writing configuration', after: [], run: configureNodes },
  { name: 'init', title: 'Starting control plane', after: ['configure'], run: initControlPlane },
  { name: 'addons', title: 'Installing network and storage', after: ['configure'], run: installAddons },
  {
    name: 'single-node',
    after: ['init', 'addons'],
    when: ({ nodes }) => nodes.length === 1,
    run: allowLoadBalancing,
  },
  {
    name: 'join-control-planes',
    title: (context) => `Joining control planes (${controlPlanes(context).length - 1})`,
    after: ['init', 'addons'],
    when: (context) => controlPlanes(context).length > 1,
    run: joinControlPlanes,
  },
  {
    name: 'join-workers',
    title: (context) => `Joining workers (${workers(context).length})`,
    after: ['init', 'addons'],
    when: (context) => workers(context).length > 0,
    run: joinWorkers,
  },
  {
    name: 'limits',
    after: ['single-node', 'join-control-planes', 'join-workers'],
    run: async (context) => reportLimits(context),
  },
  { name: 'kubeconfig', after: ['limits'], run: exportKubeconfig },
  {
    name: 'wait',
    title: ({ wait }) => `Waiting up to ${wait} s for nodes and system workloads`,
    after: ['kubeconfig'],
    when: ({ cluster, wait }) => wait > 0 && cluster.networking.cni !== 'none',
    run: (context, say) => waitAndReport(firstControlPlane(context), context, say),
  },
  {
    name: 'connectivity',
    after: ['wait'],
    when: ({ wait }) => wait > 0,
    run: ({ provider, server, steps }) => warnIfUnreachable(server, provider, steps),
  },
];

export interface ProvisionedCluster {
  readonly nodes: readonly NodeStatus[];
  /** `vX.Y.Z`. */
  readonly kubernetes: string;
  /** URL of the API server on this machine. */
  readonly server: string;
}

/** Throws `conflict` when the cluster exists, `config`, `platform`, `provider` or `cluster`. */
export async function provisionCluster(options: ProvisionOptions): Promise<ProvisionedCluster> {
  const { cluster, provider, retain, steps } = options;
  const planned = await planCluster(options);
  try {
    const running = await steps.step(`Preparing nodes (${cluster.nodes.length})`, () => startNodes(planned));
    await runActions(actions, running);
    return { nodes: running.statuses, kubernetes: running.kubernetes, server: running.server };
  } catch (error) {
    if (!retain) await cleanUp(provider, cluster.name, steps);
    throw error;
  }
}

async function exportKubeconfig(context: RunningCluster): Promise<void> {
  await context.writeKubeconfig(
    await firstControlPlane(context).readFile('/etc/kubernetes/admin.conf'),
    context.server,
  );
}

async function cleanUp(provider: Provider, name: string, steps: Steps): Promise<void> {
  try {
    await steps.step('Cleaning up', () => removeCluster(provider, name));
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    steps.warn(`cleaning up failed (${reason}); try \`kina delete cluster --name ${name}\``);
  }
}
