/** What the commands on existing clusters do. */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { removeCluster } from '../../cluster/delete.ts';
import { clusterKubeconfig } from '../../cluster/kubeconfig/admin.ts';
import { mergeKubeconfig, removeFromKubeconfig } from '../../cluster/kubeconfig/kubeconfig.ts';
import { exportLogs } from '../../cluster/logs.ts';
import { apiServerPort, contextName } from '../../cluster/names.ts';
import { startCluster, stopCluster } from '../../cluster/power.ts';
import { apiServerOf } from '../../cluster/specs.ts';
import { type ExistingCluster, listClusters, openCluster, runningControlPlane } from '../../cluster/state.ts';
import { KinaError } from '../../host/errors.ts';
import { didYouMean } from '../../host/suggest.ts';
import { providersToSearch } from '../../provider/select.ts';
import { answer, answerJson, version } from '../terminal/context.ts';
import { duration, nameOf, readCluster, withSteps } from './cluster-shared.ts';
import type { ClusterFlags } from './shared.ts';

export { warnOfEnvironment } from './cluster-shared.ts';

type Args = readonly string[];

function say(flags: ClusterFlags, text: string): void {
  if (!flags.quiet) process.stderr.write(`${text}\n`);
}

/** As kind prints lists: `["a" "b"]`. */
const quoted = (names: readonly string[]): string => `[${names.map((name) => JSON.stringify(name)).join(' ')}]`;

export async function getClusters(_args: Args, flags: ClusterFlags): Promise<void> {
  const clusters = await listClusters(flags);
  if (flags.json)
    return answerJson(
      clusters.map(({ name, provider, nodes }) => ({
        name,
        provider: provider.name,
        nodes: nodes.length,
        running: nodes.filter((node) => node.state === 'running').length,
      })),
    );
  if (clusters.length === 0) return say(flags, 'No kina clusters found.');
  answer([...new Set(clusters.map((one) => one.name))].join('\n'));
}

export async function getNodes(_args: Args, flags: ClusterFlags): Promise<void> {
  const name = nameOf(flags);
  const clusters = (await listClusters(flags)).filter((one) => flags.allClusters || one.name === name);
  const nodes = clusters.flatMap((one) => one.nodes.map((node) => ({ ...node, provider: one.provider.name })));
  if (flags.json)
    return answerJson(
      nodes.map(({ name, cluster, role, state, image, ipv4, ipv6, ports, provider }) => ({
        name,
        cluster,
        role,
        state,
        provider,
        image,
        ipv4: ipv4 ?? null,
        ipv6: ipv6 ?? null,
        ports,
      })),
    );
  if (nodes.length === 0)
    return say(
      flags,
      flags.allClusters ? 'No kina nodes for any cluster.' : `No kina nodes found for cluster "${name}".`,
    );
  answer(nodes.map((node) => node.name).join('\n'));
}

async function kubeconfigOf(cluster: ExistingCluster, internal: boolean): Promise<string> {
  const node = runningControlPlane(cluster);
  const inside = `https://${(cluster.loadBalancer ?? node).name}:${apiServerPort}`;
  return clusterKubeconfig(await node.readFile('/etc/kubernetes/admin.conf'), {
    name: contextName(cluster.name),
    server: internal ? inside : apiServerOf(cluster, cluster.statuses),
  });
}

export async function getKubeconfig(_args: Args, flags: ClusterFlags): Promise<void> {
  answer(await kubeconfigOf(await openCluster(nameOf(flags), flags), flags.internal === true));
}

export async function exportKubeconfig(_args: Args, flags: ClusterFlags): Promise<void> {
  const name = nameOf(flags);
  const text = await kubeconfigOf(await openCluster(name, flags), flags.internal === true);
  await mergeKubeconfig(text, { explicit: flags.kubeconfig });
  say(flags, `Set kubectl context to "${contextName(name)}"`);
}

export async function exportClusterLogs([folder]: Args, flags: ClusterFlags): Promise<void> {
  const name = nameOf(flags);
  const cluster = await openCluster(name, flags);
  const target = folder ? resolve(folder) : await mkdtemp(join(tmpdir(), 'kina-logs-'));
  say(flags, `Exporting logs for cluster "${name}" to:`);
  answer(target);
  const problems = await exportLogs(cluster, target, `kina version ${version}`);
  if (problems.length > 0) throw new KinaError('cluster', 'not everything could be exported', { details: problems });
}

export async function stopOne(_args: Args, flags: ClusterFlags): Promise<void> {
  const cluster = await openCluster(nameOf(flags), flags);
  await withSteps(flags, (steps) => stopCluster(cluster, steps));
}

export async function startOne(_args: Args, flags: ClusterFlags): Promise<void> {
  const wait = duration(flags.wait, '--wait');
  const cluster = await openCluster(nameOf(flags), flags);
  await withSteps(flags, (steps, signal) => startCluster(cluster, { steps, signal, wait }));
  // A port that the runtime picked is another one now.
  const now = await openCluster(cluster.name, flags);
  await mergeKubeconfig(await kubeconfigOf(now, false), { explicit: flags.kubeconfig });
}

export async function deleteOne(_args: Args, flags: ClusterFlags): Promise<void> {
  const name = nameOf(flags);
  say(flags, `Deleting cluster "${name}" ...`);
  await removeEverywhere(name, flags);
}

export async function deleteSeveral(names: Args, flags: ClusterFlags): Promise<void> {
  const wanted = flags.all ? (await listClusters(flags)).map((one) => one.name) : names;
  if (wanted.length === 0) {
    if (flags.all) return say(flags, 'No kina clusters found.');
    throw new KinaError('usage', 'no cluster names provided', { hint: 'Name clusters, or use --all.' });
  }
  const [deleted, failed]: [string[], string[]] = [[], []];
  for (const name of new Set(wanted))
    try {
      if (await removeEverywhere(name, flags)) deleted.push(name);
      else say(flags, `No kina nodes found for cluster "${name}".`);
    } catch (error) {
      failed.push(`${name}: ${error instanceof Error ? error.message : error}`);
    }
  if (deleted.length > 0) say(flags, `Deleted clusters: ${quoted(deleted)}`);
  if (failed.length > 0) throw new KinaError('cluster', 'not all clusters could be deleted', { details: failed });
}

/** The kubeconfig first: entries that lead nowhere are worse than nodes that nobody names. False: there were no nodes. */
async function removeEverywhere(name: string, flags: ClusterFlags): Promise<boolean> {
  let trouble: unknown;
  let found = false;
  try {
    await removeFromKubeconfig(contextName(name), { explicit: flags.kubeconfig });
  } catch (error) {
    trouble = error;
  }
  for (const provider of await providersToSearch(flags.provider)) {
    const { nodes, keptNetwork } = await removeCluster(provider, name);
    found ||= nodes.length > 0;
    if (nodes.length > 0) say(flags, `Deleted nodes: ${quoted(nodes)}`);
    if (keptNetwork) say(flags, `The network ${keptNetwork} stays: other containers use it.`);
  }
  if (trouble) throw trouble;
  return found;
}

export async function exec([node = '', ...command]: Args, flags: ClusterFlags): Promise<void> {
  const clusters = await listClusters(flags);
  const nodes = clusters.flatMap((one) => one.nodes.map((status) => ({ status, provider: one.provider })));
  const found = nodes.find(({ status }) => status.name === node);
  if (!found)
    throw new KinaError(
      'not-found',
      `unknown node: ${JSON.stringify(node)}${didYouMean(
        node,
        nodes.map(({ status }) => status.name),
      )}`,
    );
  process.exitCode = await found.provider.attach(node, command);
}

export async function validateConfig(
  [file]: Args,
  flags: ClusterFlags & { allowEvenControlPlanes?: boolean },
): Promise<void> {
  const cluster = await readCluster(file, { allowEvenControlPlanes: flags.allowEvenControlPlanes === true });
  for (const warning of cluster.warnings) process.stderr.write(`WARNING: ${warning}\n`);
  const roles = cluster.nodes.map((node) => node.role);
  const count = (role: string): number => roles.filter((one) => one === role).length;
  answer(
    `${file}: valid; cluster ${cluster.name}, ${count('control-plane')} control plane(s), ${count('worker')} worker(s)`,
  );
}
