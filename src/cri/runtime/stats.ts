/** Resource usage of containers and sandboxes, from the cgroups inside: the host sees only one machine per pod. */
import type { AgentStats, CgroupStats } from '../agent/protocol.ts';
import type { ContainerStats, PodSandboxStats } from '../api/messages.ts';
import type { Outgoing } from '../api/services.ts';
import type { Pod, PodContainer } from './pod.ts';

/** Earlier readings, for the rate of processor use between two. */
const earlier = new WeakMap<object, CgroupStats>();

function cpu(owner: object, now: CgroupStats) {
  const before = earlier.get(owner);
  const seconds = before ? Number(BigInt(now.at) - BigInt(before.at)) / 1e9 : 0;
  // Requests come in quick succession; a rate over a shorter time would be noise.
  if (!before || seconds > 0.1) earlier.set(owner, now);
  const used = before && seconds > 0 ? (now.cpuNanoseconds - before.cpuNanoseconds) / seconds : 0;
  return {
    timestamp: now.at,
    usageCoreNanoSeconds: { value: now.cpuNanoseconds },
    usageNanoCores: { value: Math.max(0, Math.round(used)) },
  };
}

const memory = (now: CgroupStats, limit = 0) => ({
  timestamp: now.at,
  workingSetBytes: { value: now.workingSetBytes },
  availableBytes: { value: Math.max(0, limit - now.workingSetBytes) },
  usageBytes: { value: now.memoryBytes },
  rssBytes: { value: now.rssBytes },
  pageFaults: { value: now.pageFaults },
  majorPageFaults: { value: now.majorPageFaults },
});

/** Stats of an existing container; undefined when it has ended, because the agent then has no figures. */
export function containerStats(
  container: PodContainer,
  stats: AgentStats,
  mountpoint: string,
): Outgoing<ContainerStats> | undefined {
  const now = stats.containers[container.id];
  if (!now) return undefined;
  const { metadata, labels, annotations } = container.record.config;
  return {
    attributes: { id: container.id, metadata, labels, annotations },
    cpu: cpu(container, now),
    memory: memory(now, container.record.resources?.memoryLimitInBytes),
    writableLayer: {
      timestamp: now.at,
      fsId: { mountpoint },
      usedBytes: { value: now.diskBytes },
      inodesUsed: { value: now.inodes },
    },
    swap: { timestamp: now.at, swapAvailableBytes: { value: 0 }, swapUsageBytes: { value: now.swapBytes } },
  };
}

export function podStats(pod: Pod, stats: AgentStats, mountpoint: string): Outgoing<PodSandboxStats> {
  const { metadata, labels, annotations } = pod.record.config;
  const { sandbox } = stats;
  const interfaces = stats.interfaces.map(({ name, rxBytes, rxErrors, txBytes, txErrors }) => ({
    name,
    rxBytes: { value: rxBytes },
    rxErrors: { value: rxErrors },
    txBytes: { value: txBytes },
    txErrors: { value: txErrors },
  }));
  return {
    attributes: { id: pod.id, metadata, labels, annotations },
    linux: {
      cpu: cpu(pod, sandbox),
      memory: memory(sandbox),
      network: { timestamp: sandbox.at, defaultInterface: interfaces[0], interfaces: interfaces.slice(1) },
      process: { timestamp: sandbox.at, processCount: { value: sandbox.processes } },
      containers: [...pod.containers.values()].flatMap((one) => containerStats(one, stats, mountpoint) ?? []),
    },
  };
}
