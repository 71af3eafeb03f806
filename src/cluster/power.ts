/**
 * Stop and start. A stopped cluster keeps everything but its addresses, and a start is therefore a repair: each node's
 * entrypoint puts its new address into its own files and certificates; kina writes the names of all nodes and the load
 * balancer's list, and waits. What nodes say to each other goes by name (endpoint, etcd's peers), so nothing else has to
 * be told.
 */
import type { Steps } from '../host/progress.ts';
import { configureLoadBalancer } from './actions/balance.ts';
import { waitForBoot } from './boot.ts';
import { writeHosts } from './hosts.ts';
import { roles } from './names.ts';
import type { Node } from './node.ts';
import { warnIfUnreachable } from './reach.ts';
import { apiServerOf } from './specs.ts';
import { type ExistingCluster, existingCluster } from './state.ts';
import { waitForCluster } from './wait.ts';

/** Seconds that systemd gets to stop pods and write everything down. */
const shutdownLimit = 30;

export async function stopCluster(cluster: ExistingCluster, steps: Steps): Promise<void> {
  const running = cluster.statuses.filter((status) => status.state === 'running').map((status) => status.name);
  if (running.length === 0) return steps.info(`Cluster ${cluster.name} is stopped already.`);
  await steps.step(`Stopping nodes (${running.length})`, () => cluster.provider.stop(running, shutdownLimit));
}

export interface StartRequest {
  readonly steps: Steps;
  readonly signal: AbortSignal;
  /** Seconds; 0: do not wait. */
  readonly wait: number;
}

/** Also for a cluster that runs: everything is put right again. Answers with where the API server is now. */
export async function startCluster(cluster: ExistingCluster, { steps, signal, wait }: StartRequest): Promise<string> {
  const { provider, name } = cluster;
  const stopped = cluster.statuses.filter((status) => status.state === 'stopped').map((status) => status.name);
  const awaited = await steps.step(`Starting nodes (${cluster.statuses.length})`, async () => {
    await provider.start(stopped);
    return Promise.all(
      cluster.nodes.map(async (node) => ({ name: node.name, since: (await waitForBoot(node, 180, signal)).since })),
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
    await steps.step(`Waiting up to ${wait} s for nodes and system workloads`, async (say) => {
      const since = performance.now();
      await waitForCluster(first, awaited, wait, signal);
      say(`ready after ${Math.round((performance.now() - since) / 1000)} s`);
    });
  const server = apiServerOf({ name }, statuses);
  if (wait > 0) await warnIfUnreachable(server, provider, steps);
  return server;
}

function familyOf({ status }: Node): 'ipv4' | 'ipv6' | 'dual' {
  if (status.ipv4 && status.ipv6) return 'dual';
  return status.ipv6 ? 'ipv6' : 'ipv4';
}
