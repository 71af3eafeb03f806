/**
 * Metrics with the names that the kubelet's cAdvisor uses, so that dashboards keep working although cAdvisor sees only
 * machines. The agent supplies the values; this file adds their descriptions and labels.
 */
import type { AgentMetrics, MetricSamples } from '../agent/protocol.ts';
import type { Metric, MetricDescriptor, MetricType, PodSandboxMetrics } from '../api/messages.ts';
import type { Outgoing } from '../api/services.ts';
import { nanoseconds, type Pod, type PodContainer } from './pod.ts';

interface Described {
  readonly type: MetricType;
  readonly help: string;
  /** Labels besides those that identify the pod and container. */
  readonly labels?: readonly string[];
}

const counter = (help: string, ...labels: string[]): Described => ({ type: 'COUNTER', help, labels });
const gauge = (help: string, ...labels: string[]): Described => ({ type: 'GAUGE', help, labels });

/** By name, without the prefix `container_`. */
const table: Readonly<Record<string, Described>> = {
  cpu_usage_seconds_total: counter('Seconds of processor time'),
  cpu_user_seconds_total: counter('Seconds of processor time in programs'),
  cpu_system_seconds_total: counter('Seconds of processor time in the kernel'),
  cpu_cfs_periods_total: counter('Periods of the scheduler in which it wanted to run'),
  cpu_cfs_throttled_periods_total: counter('Periods in which it was held back by its limit'),
  cpu_cfs_throttled_seconds_total: counter('Seconds for which it was held back by its limit'),
  memory_usage_bytes: gauge('Memory with all caches'),
  memory_max_usage_bytes: gauge('Most memory so far'),
  memory_working_set_bytes: gauge('Memory without file caches that have not been used lately'),
  memory_cache: gauge('File caches, in bytes'),
  memory_rss: gauge('Memory of programs that is not of files, in bytes'),
  memory_mapped_file: gauge('Files that are mapped into programs, in bytes'),
  memory_kernel_usage: gauge('Memory that the kernel uses for it, in bytes'),
  memory_swap: gauge('Memory that was swapped out, in bytes'),
  memory_failcnt: counter('How often its limit was reached'),
  memory_failures_total: counter('Page faults', 'failure_type', 'scope'),
  oom_events_total: counter('Programs that were killed for want of memory'),
  processes: gauge('Processes'),
  threads: gauge('Threads'),
  threads_max: gauge('Most threads that it may have; 0: no limit'),
  file_descriptors: gauge('Open files and sockets'),
  sockets: gauge('Open sockets'),
  fs_inodes_total: gauge('Files that the storage can hold', 'device'),
  fs_inodes_free: gauge('Files that the storage can still hold', 'device'),
  fs_limit_bytes: gauge('Bytes that the storage can hold', 'device'),
  fs_usage_bytes: gauge('Bytes that are used of the storage', 'device'),
  fs_reads_total: counter('Reads from a device', 'device'),
  fs_reads_bytes_total: counter('Bytes read from a device', 'device'),
  fs_writes_total: counter('Writes to a device', 'device'),
  fs_writes_bytes_total: counter('Bytes written to a device', 'device'),
  blkio_device_usage_total: counter('Bytes read from or written to a device', 'device', 'major', 'minor', 'operation'),
  spec_cpu_period: gauge('Microseconds of a period of the scheduler'),
  spec_cpu_quota: gauge('Microseconds that it may run in a period'),
  spec_cpu_shares: gauge('Its share of the processors when they are busy'),
  spec_memory_limit_bytes: gauge('Most memory that it may use; 0: no limit'),
  spec_memory_swap_limit_bytes: gauge('Most memory and swap that it may use; 0: no limit'),
  last_seen: gauge('When it was looked at, in seconds since 1970'),
  start_time_seconds: gauge('When it was started, in seconds since 1970'),
  network_receive_bytes_total: counter('Bytes received', 'interface'),
  network_receive_packets_total: counter('Packets received', 'interface'),
  network_receive_errors_total: counter('Packets received with errors', 'interface'),
  network_receive_packets_dropped_total: counter('Packets received and dropped', 'interface'),
  network_transmit_bytes_total: counter('Bytes sent', 'interface'),
  network_transmit_packets_total: counter('Packets sent', 'interface'),
  network_transmit_errors_total: counter('Packets that could not be sent', 'interface'),
  network_transmit_packets_dropped_total: counter('Packets dropped instead of sent', 'interface'),
};

/** Labels that identify the pod and container. */
const owner = ['namespace', 'pod', 'container', 'id', 'name', 'image'] as const;

export const metricDescriptors = (): MetricDescriptor[] =>
  Object.entries(table).map(([name, { help, labels = [] }]) => ({
    name: `container_${name}`,
    help,
    labelKeys: [...owner, ...labels],
  }));

export function podMetrics(pod: Pod, metrics: AgentMetrics): Outgoing<PodSandboxMetrics> {
  const { namespace = '', name = '' } = pod.record.config.metadata ?? {};
  const ofPod = [namespace, name, '', pod.id, pod.record.machine, ''];
  const ofContainer = ({ id, record: { config } }: PodContainer) => {
    const container = config.metadata?.name ?? '';
    return [namespace, name, container, id, `${namespace}/${name}/${container}`, config.image?.image ?? ''];
  };
  return {
    podSandboxId: pod.id,
    metrics: samples(metrics.network, ofPod),
    containerMetrics: [...pod.containers.values()].flatMap((container) => {
      const own = metrics.containers[container.id];
      return own ? [{ containerId: container.id, metrics: samples(own, ofContainer(container)) }] : [];
    }),
  };
}

function samples(all: MetricSamples, labels: readonly string[]): Outgoing<Metric>[] {
  const timestamp = nanoseconds();
  return Object.entries(all).flatMap(([name, list]) => {
    const known = table[name];
    if (!known) return [];
    return list.map(([value, ...own]) => ({
      name: `container_${name}`,
      timestamp,
      metricType: known.type,
      labelValues: [...labels, ...own],
      value: { value },
    }));
  });
}
