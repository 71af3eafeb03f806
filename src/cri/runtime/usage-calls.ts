/** RPCs for the resource usage of pods and containers: stats and metrics, as the agents measure them. */
import { AgentError } from '../agent/connection.ts';
import type { Requests } from '../agent/protocol.ts';
import type { ContainerFilter, ContainerStats, PodSandboxMetrics, PodSandboxStats } from '../api/messages.ts';
import type { Outgoing, RuntimeHandlers } from '../api/services.ts';
import { RpcError } from '../api/status.ts';
import { inParts, selectContainers, selectPods } from './lists.ts';
import { metricDescriptors, podMetrics } from './metrics.ts';
import type { ServiceParts } from './parts.ts';
import type { Pod } from './pod.ts';
import type { Pods } from './pods.ts';
import { containerStats, podStats } from './stats.ts';

export function usageCalls({ pods, containers, images: { mountpoint } }: ServiceParts) {
  return {
    containerStats: async ({ containerId }) => {
      const { container } = containers.get(containerId);
      const [stats] = await statsOfContainers(pods, { id: container.id }, mountpoint);
      if (!stats)
        throw new RpcError('NOT_FOUND', `the container ${container.id} has no figures: it is ${container.state}`);
      return { stats };
    },
    listContainerStats: async ({ filter }) => ({ stats: await statsOfContainers(pods, filter, mountpoint) }),
    podSandboxStats: async ({ podSandboxId }) => {
      const pod = pods.get(podSandboxId);
      const [stats] = await statsOfPods([pod], mountpoint);
      if (!stats) throw new RpcError('NOT_FOUND', `the sandbox ${pod.id} has no figures: it is stopped`);
      return { stats };
    },
    listPodSandboxStats: async ({ filter }) => {
      const all = selectPods(pods, filter ? { ...filter, state: null } : null);
      return { stats: await statsOfPods(all, mountpoint) };
    },
    listMetricDescriptors: () => ({ descriptors: metricDescriptors() }),
    listPodSandboxMetrics: async () => ({ podMetrics: await metricsOfPods(pods) }),
    streamPodSandboxMetrics: async function* () {
      for (const part of inParts(await metricsOfPods(pods))) yield { podSandboxMetrics: part };
    },
    streamContainerStats: async function* ({ filter }) {
      for (const part of inParts(await statsOfContainers(pods, filter, mountpoint))) yield { containerStats: part };
    },
    streamPodSandboxStats: async function* ({ filter }) {
      const all = selectPods(pods, filter ? { ...filter, state: null } : null);
      for (const part of inParts(await statsOfPods(all, mountpoint))) yield { podSandboxStats: part };
    },
  } satisfies Partial<RuntimeHandlers>;
}

/** Undefined if the agent does not answer: the sandbox is stopped or gone. */
async function measure<O extends 'stats' | 'metrics'>(pod: Pod, op: O): Promise<Requests[O][1] | undefined> {
  if (!pod.isReady) return undefined;
  try {
    return (await pod.agent.call(op, {}, { timeout: 10_000 })) as Requests[O][1];
  } catch (error) {
    if (error instanceof AgentError) return undefined;
    throw error;
  }
}

async function metricsOfPods(pods: Pods): Promise<Outgoing<PodSandboxMetrics>[]> {
  const all = selectPods(pods, null).map(async (pod) => {
    const metrics = await measure(pod, 'metrics');
    return metrics ? [podMetrics(pod, metrics)] : [];
  });
  return (await Promise.all(all)).flat();
}

async function statsOfContainers(
  pods: Pods,
  filter: Partial<ContainerFilter> | null,
  mountpoint: string,
): Promise<Outgoing<ContainerStats>[]> {
  const byPod = Map.groupBy(selectContainers(pods, filter), ([pod]) => pod);
  const all = [...byPod].map(async ([pod, list]) => {
    const stats = await measure(pod, 'stats');
    return stats ? list.flatMap(([, one]) => containerStats(one, stats, mountpoint) ?? []) : [];
  });
  return (await Promise.all(all)).flat();
}

async function statsOfPods(pods: readonly Pod[], mountpoint: string): Promise<Outgoing<PodSandboxStats>[]> {
  const all = pods.map(async (pod) => {
    const stats = await measure(pod, 'stats');
    return stats ? [podStats(pod, stats, mountpoint)] : [];
  });
  return (await Promise.all(all)).flat();
}
