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
import { roles } from './names.ts';
import type { Node } from './node.ts';
import { apiServerOf } from './specs.ts';
import { type ExistingCluster, existingCluster } from './state.ts';
import { waitAndReport } from './wait.ts';

/** Seconds for systemd to stop pods and write everything to disk. */
const shutdownLimit = 30;

export async function stopCluster(cluster: ExistingCluster, steps: Steps): Promise<void> {
  const running = cluster.statuses.filter((status) => status.state === 'running').map((status) => status.name);
  if (running.length === 0) return steps.info(`Cluster ${cluster.name} is already stopped.`);
  await steps.step(`Stopping nodes (${running.length})`, () => cluster.provider.stop(running, shutdownLimit));
}

export interface StartRequest {
  readonly steps: Steps;
  readonly signal: AbortSignal;
  /** Seconds; 0 skips waiting. */
  readonly wait: number;
}

/** Starts a stopped cluster, or repairs a running one. Returns the URL of the API server on this machine. */
export async function startCluster(cluster: ExistingCluster, { steps, signal, wait }: StartRequest): Promise<string> {
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
