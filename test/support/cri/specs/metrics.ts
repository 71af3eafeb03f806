/**
 * The metrics of pods that kubelets pass on, by name: those that cAdvisor has always had (`/metrics/cadvisor`), and that a
 * runtime has to have when kubelet asks it instead. What no runtime has to have is left out: huge pages, stalls, limits of
 * processes.
 */
const families: readonly (readonly [string, string])[] = [
  ['blkio', 'device_usage_total'],
  ['cpu', 'cfs_periods_total cfs_throttled_periods_total cfs_throttled_seconds_total'],
  ['cpu', 'system_seconds_total usage_seconds_total user_seconds_total'],
  ['fs', 'inodes_free inodes_total limit_bytes usage_bytes'],
  ['fs', 'reads_bytes_total reads_total writes_bytes_total writes_total'],
  ['memory', 'cache failcnt failures_total kernel_usage mapped_file max_usage_bytes rss'],
  ['memory', 'swap usage_bytes working_set_bytes'],
  ['network_receive', 'bytes_total errors_total packets_dropped_total packets_total'],
  ['network_transmit', 'bytes_total errors_total packets_dropped_total packets_total'],
  ['spec', 'cpu_period cpu_shares memory_limit_bytes memory_swap_limit_bytes'],
  ['threads', 'max'],
];
const single = 'file_descriptors last_seen oom_events_total processes sockets start_time_seconds threads';

export const metricNames: readonly string[] = [
  ...families.flatMap(([family, names]) => names.split(' ').map((name) => `container_${family}_${name}`)),
  ...single.split(' ').map((name) => `container_${name}`),
];

/** Need a disk that the kernel counts for the container; many machines have none. */
export const rarelyMeasured: ReadonlySet<string> = new Set(
  metricNames.filter((name) => /_(blkio_device_usage|fs_(reads|writes)(_bytes)?)_total$/.test(name)),
);
