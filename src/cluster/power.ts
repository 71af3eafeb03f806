/**
 * Stops and starts clusters. A stopped cluster keeps everything except its addresses, so starting it includes a repair:
 * the entrypoint of each node writes the new address into its files and certificates, and kina writes the host names and
 * the configuration of the load balancer. Nodes address each other by name (endpoint, etcd peers), so nothing else
 * changes.
 */
import type { Steps } from '../host/progress.ts';
import { configureLoadBalancer } from './actions/balance.ts';
import { bootLimit, waitForBoot } from './boot.ts';
import { warnIfUnreachable } from './connectivity.ts';
import { writeHosts } from './hosts.ts';
import { exportKubeconfig } from './kubeconfig/export.ts';
import { roles } from './names.ts';
import type { Node } from './node.ts';
import { apiServerOf } from './specs.ts';
import { type ClusterOption, type ExistingCluster, existingCluster, openCluster } from './state.ts';
import { waitAndReport } from './wait.ts';

/** Seconds for systemd to stop pods and write everything to disk. */
const shutdownLimit = 30;

export interface StopClusterOptions extends ClusterOption {
  readonly steps: Steps;
}

/** Stops all nodes. Returns the names of those that were running. */
export async function stopCluster(options: StopClusterOptions): Promise<{ readonly nodes: readonly string[] }> {
  const { provider, name, statuses } = await openCluster(options);
  const running = statuses.filter((status) => status.state === 'running').map((status) => status.name);
  if (running.length === 0) options.steps.info(`Cluster ${name} is already stopped.`);
  else await options.steps.step(`Stopping nodes (${running.length})`, () => provider.stop(running, shutdownLimit));
  return { nodes: running };
}

export interface StartClusterOptions extends ClusterOption {
  readonly steps: Steps;
  readonly signal: AbortSignal;
  /** Seconds to wait for a usable cluster; 0 skips waiting. */
  readonly wait: number;
  /** Path of the kubeconfig file. Default: as kubectl finds it. */
  readonly kubeconfig?: string | undefined;
}

export interface StartedCluster {
  /** URL of the API server on this machine. It changes when the runtime picks the port. */
  readonly server: string;
  /** Name of the context in the kubeconfig. */
  readonly context: string;
}

/** Starts a stopped cluster, or repairs a running one, and updates the kubeconfig. */
export async function startCluster(options: StartClusterOptions): Promise<StartedCluster> {
  const server = await startAndRepair(await openCluster(options), options);
  const { context } = await exportKubeconfig(options);
  return { server, context };
}

async function startAndRepair(cluster: ExistingCluster, options: StartClusterOptions): Promise<string> {
  const { steps, signal, wait } = options;
  const { provider, name } = cluster;
  const stopped = cluster.statuses.filter((status) => status.state === 'stopped').map((status) => status.name);
  const awaited = await steps.step(`Starting nodes (${cluster.statuses.length})`, async () => {
    await provider.start(stopped);
    return Promise.all(
      cluster.nodes.map(async (node) => ({
        name: node.name,
        since: (await waitForBoot(node, bootLimit, signal)).since,
      })),
    );
  });
  const statuses = await provider.nodes(name);
  const now = existingCluster(name, provider, statuses);
  await steps.step('Repairing addresses', async () => {
    await writeHosts(now.nodes, statuses);
    if (now.loadBalancer) await configureLoadBalancer(now.loadBalancer, statuses, familyOf(now.loadBalancer));
  });
  const first = now.nodes.find((node) => node.role === roles.controlPlane);
  if (wait > 0 && first)
    await steps.step(`Waiting up to ${wait} s for nodes and system workloads`, (say) =>
      waitAndReport(first, { awaited, wait, signal }, say),
    );
  const server = apiServerOf({ name }, statuses);
  if (wait > 0) await warnIfUnreachable(server, provider, steps);
  return server;
}

function familyOf({ status }: Node): 'ipv4' | 'ipv6' | 'dual' {
  if (status.ipv4 && status.ipv6) return 'dual';
  return status.ipv6 ? 'ipv6' : 'ipv4';
}
