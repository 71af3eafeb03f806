/** RuntimeService: each RPC as one call to what does the work, and its answer as a message. */
import type { Readable } from 'node:stream';
import { AgentError } from '../agent/connection.ts';
import type { Requests } from '../agent/protocol.ts';
import type {
  ContainerFilter,
  ContainerStats,
  ExecSyncRequest,
  ExecSyncResponse,
  PodSandboxFilter,
  PodSandboxMetrics,
  PodSandboxStats,
} from '../api/messages.ts';
import type { RuntimeHandlers, Sent } from '../api/services.ts';
import { invalid, RpcError, unsupported } from '../api/status.ts';
import type { ImageLibrary } from '../images/library.ts';
import { execProcess } from '../spec/container.ts';
import type { StreamingServer } from '../streaming/server.ts';
import { type Containers, explained } from './containers.ts';
import {
  containerStatus,
  describeContainer,
  describeSandbox,
  matchesContainer,
  matchesSandbox,
  sandboxStatus,
} from './describe.ts';
import type { Events } from './events.ts';
import type { Health } from './health.ts';
import { metricDescriptors, podMetrics } from './metrics.ts';
import type { Container, Pod } from './pod.ts';
import type { Sandboxes } from './sandboxes.ts';
import { containerStats, sandboxStats } from './stats.ts';

export interface ServiceParts {
  readonly sandboxes: Sandboxes;
  readonly containers: Containers;
  readonly images: ImageLibrary;
  readonly events: Events;
  readonly streaming: StreamingServer;
  readonly health: Health;
  readonly version: string;
}

/** What a client of gRPC takes at most from kubelet's side: 16 MiB, less the message's own parts. */
const longestOutput = 16 * 2 ** 20 - 4096;

/** Messages with this many items are far below what a client takes. */
const streamed = 100;

export function runtimeService(parts: ServiceParts): RuntimeHandlers {
  const { sandboxes, containers, images, events, streaming, health } = parts;

  const allPods = (filter: PodSandboxFilter | null): Pod[] =>
    [...sandboxes.pods.values()].filter((pod) => matchesSandbox(pod, filter));
  const allContainers = (filter: Partial<ContainerFilter> | null): [Pod, Container][] =>
    [...sandboxes.pods.values()].flatMap((pod) =>
      [...pod.containers.values()]
        .filter((container) => matchesContainer(pod, container, filter))
        .map((container): [Pod, Container] => [pod, container]),
    );
  /** Of a sandbox that does not answer there is nothing to tell. */
  const read = async <O extends 'stats' | 'metrics'>(pod: Pod, op: O): Promise<Requests[O][1] | undefined> => {
    if (!pod.isReady) return undefined;
    try {
      return (await pod.agent.call(op, {}, { timeout: 10_000 })) as Requests[O][1];
    } catch (error) {
      if (error instanceof AgentError) return undefined;
      throw error;
    }
  };
  const metricsOfPods = async (): Promise<Sent<PodSandboxMetrics>[]> => {
    const all = allPods(null).map(async (pod) => {
      const metrics = await read(pod, 'metrics');
      return metrics ? [podMetrics(pod, metrics)] : [];
    });
    return (await Promise.all(all)).flat();
  };
  const { mountpoint } = images;
  const statsOfContainers = async (filter: Partial<ContainerFilter> | null): Promise<Sent<ContainerStats>[]> => {
    const wanted = Map.groupBy(allContainers(filter), ([pod]) => pod);
    const all = [...wanted].map(async ([pod, list]) => {
      const stats = await read(pod, 'stats');
      return stats ? list.flatMap(([, one]) => containerStats(one, stats, mountpoint) ?? []) : [];
    });
    return (await Promise.all(all)).flat();
  };
  const statsOfSandboxes = async (pods: readonly Pod[]): Promise<Sent<PodSandboxStats>[]> => {
    const all = pods.map(async (pod) => {
      const stats = await read(pod, 'stats');
      return stats ? [sandboxStats(pod, stats, mountpoint)] : [];
    });
    return (await Promise.all(all)).flat();
  };

  return {
    version: () => ({
      version: '0.1.0',
      runtimeName: 'kina',
      runtimeVersion: parts.version,
      runtimeApiVersion: 'v1',
    }),
    status: ({ verbose }) => health.status(verbose),
    runtimeConfig: () => ({ linux: { cgroupDriver: 'CGROUPFS' } }),
    // the provider's network has addresses of its own for sandboxes; a node's share of pod addresses is not used
    updateRuntimeConfig: () => ({}),

    runPodSandbox: async (request, signal) => ({ podSandboxId: (await sandboxes.run(request, signal)).id }),
    stopPodSandbox: async ({ podSandboxId }) => {
      await sandboxes.stop(podSandboxId);
      return {};
    },
    removePodSandbox: async ({ podSandboxId }) => {
      await sandboxes.remove(podSandboxId, (container) => containers.release(container));
      return {};
    },
    podSandboxStatus: ({ podSandboxId, verbose }) => {
      const pod = sandboxes.get(podSandboxId);
      return {
        status: sandboxStatus(pod),
        info: verbose ? { info: JSON.stringify({ machine: pod.record.machine, agent: pod.record.agent }) } : {},
        containersStatuses: [...pod.containers.values()].map((one) => containerStatus(one, images)),
        timestamp: `${BigInt(Date.now()) * 1_000_000n}`,
      };
    },
    listPodSandbox: ({ filter }) => ({ items: allPods(filter).map(describeSandbox) }),
    updatePodSandboxResources: () => {
      throw unsupported(
        'changing the resources of a sandbox',
        'a virtual machine keeps the size that it was made with',
      );
    },

    createContainer: async (request, signal) => ({ containerId: await containers.create(request, signal) }),
    startContainer: async ({ containerId }) => {
      await containers.start(containerId);
      return {};
    },
    stopContainer: async ({ containerId, timeout }) => {
      await containers.stop(containerId, timeout);
      return {};
    },
    removeContainer: async ({ containerId }) => {
      const found = containers.find(containerId);
      await containers.remove(containerId);
      if (found) events.tell('CONTAINER_DELETED_EVENT', found.pod, found.container.id);
      return {};
    },
    listContainers: ({ filter }) => ({
      containers: allContainers(filter).map(([pod, container]) => describeContainer(pod, container)),
    }),
    containerStatus: ({ containerId, verbose }) => {
      const { pod, container } = containers.get(containerId);
      const { process } = container.record;
      return {
        status: containerStatus(container, images),
        info: verbose ? { info: JSON.stringify({ sandboxID: pod.id, pid: container.now.pid, process }) } : {},
      };
    },
    updateContainerResources: async ({ containerId, linux }) => {
      if (!linux) throw invalid('resources for Linux are missing');
      await containers.update(containerId, linux);
      return {};
    },
    reopenContainerLog: async ({ containerId }) => {
      await containers.reopenLog(containerId);
      return {};
    },
    checkpointContainer: () => {
      throw unsupported('checkpointing', 'the memory of a container in a machine of its own cannot be saved');
    },

    execSync: (request, signal) => execSync(containers, request, signal),
    exec: ({ containerId, cmd, tty, stdin, stdout, stderr }) => {
      const { container } = containers.running(containerId);
      return { url: streaming.exec({ containerId: container.id, cmd, tty, stdin, stdout, stderr }) };
    },
    attach: ({ containerId, stdin, tty, stdout, stderr }) => {
      const { container } = containers.running(containerId);
      return { url: streaming.attach({ containerId: container.id, tty, stdin, stdout, stderr }) };
    },
    portForward: ({ podSandboxId }) => {
      const pod = sandboxes.get(podSandboxId);
      if (!pod.isReady) throw new RpcError('FAILED_PRECONDITION', `the sandbox ${pod.id} is stopped`);
      return { url: streaming.portForward({ podSandboxId: pod.id }) };
    },

    containerStats: async ({ containerId }) => {
      const { container } = containers.get(containerId);
      const [stats] = await statsOfContainers({ id: container.id });
      if (!stats)
        throw new RpcError('NOT_FOUND', `the container ${container.id} has no figures: it is ${container.state}`);
      return { stats };
    },
    listContainerStats: async ({ filter }) => ({ stats: await statsOfContainers(filter) }),
    podSandboxStats: async ({ podSandboxId }) => {
      const pod = sandboxes.get(podSandboxId);
      const [stats] = await statsOfSandboxes([pod]);
      if (!stats) throw new RpcError('NOT_FOUND', `the sandbox ${pod.id} has no figures: it is stopped`);
      return { stats };
    },
    listPodSandboxStats: async ({ filter }) => {
      const pods = allPods(filter ? { ...filter, state: null } : null);
      return { stats: await statsOfSandboxes(pods) };
    },
    listMetricDescriptors: () => ({ descriptors: metricDescriptors() }),
    listPodSandboxMetrics: async () => ({ podMetrics: await metricsOfPods() }),

    streamPodSandboxMetrics: async function* () {
      for (const part of inParts(await metricsOfPods())) yield { podSandboxMetrics: part };
    },
    getContainerEvents: (_request, signal) => events.follow(signal),
    streamPodSandboxes: async function* ({ filter }) {
      for (const part of inParts(allPods(filter).map(describeSandbox))) yield { podSandboxes: part };
    },
    streamContainers: async function* ({ filter }) {
      const all = allContainers(filter).map(([pod, container]) => describeContainer(pod, container));
      for (const part of inParts(all)) yield { containers: part };
    },
    streamContainerStats: async function* ({ filter }) {
      for (const part of inParts(await statsOfContainers(filter))) yield { containerStats: part };
    },
    streamPodSandboxStats: async function* ({ filter }) {
      const pods = allPods(filter ? { ...filter, state: null } : null);
      for (const part of inParts(await statsOfSandboxes(pods))) yield { podSandboxStats: part };
    },
  };
}

export function* inParts<T>(items: readonly T[]): Generator<T[]> {
  for (let at = 0; at < items.length; at += streamed) yield items.slice(at, at + streamed);
}

async function execSync(
  containers: Containers,
  { containerId, cmd, timeout }: ExecSyncRequest,
  signal: AbortSignal,
): Promise<Sent<ExecSyncResponse>> {
  const { pod, container } = containers.running(containerId);
  const process = execProcess(container.record.process, cmd, false);
  try {
    const limit = Math.max(0, timeout) * 1000;
    const running = await pod.agent.exec({ id: container.id, process, stdin: false, timeout: limit }, signal);
    const [stdout, stderr, { exitCode }] = await Promise.all([
      collect(running.stdout),
      collect(running.stderr),
      running.finished,
    ]);
    return { stdout, stderr, exitCode };
  } catch (error) {
    if (error instanceof AgentError && error.failure === 'timeout')
      throw new RpcError('DEADLINE_EXCEEDED', `${cmd[0]} did not end within ${timeout} s and was killed`, {
        cause: error,
      });
    throw explained(error);
  }
}

/** The beginning of a stream, as much as an answer can hold; the rest is read and dropped. */
async function collect(stream: Readable): Promise<Uint8Array> {
  const pieces: Buffer[] = [];
  let room = Math.floor(longestOutput / 2);
  for await (const piece of stream as AsyncIterable<Buffer>) {
    if (room <= 0) continue;
    pieces.push(piece.subarray(0, room));
    room -= piece.length;
  }
  return Buffer.concat(pieces);
}
