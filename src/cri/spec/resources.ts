/** Limits of a container, from CRI to an OCI configuration; a zero in CRI means "not set". */
import type { LinuxContainerResources } from '../api/messages.ts';

/** `linux.resources`, with only the fields that were set. */
export function ociResources(wish: LinuxContainerResources | null): Record<string, unknown> {
  if (!wish) return {};
  const cpu = said({
    shares: wish.cpuShares,
    quota: wish.cpuQuota,
    period: wish.cpuPeriod,
    cpus: wish.cpusetCpus,
    mems: wish.cpusetMems,
  });
  const swap = wish.memorySwapLimitInBytes || undefined;
  const memory = said({ limit: wish.memoryLimitInBytes, swap });
  const hugepageLimits = wish.hugepageLimits.filter(({ limit }) => limit > 0);
  return said({ cpu, memory, hugepageLimits, unified: wish.unified });
}

/** Omits fields that are zero, empty or absent; undefined when none is left. */
function said<T extends object>(fields: T): Partial<T> {
  const there = Object.entries(fields).filter(([, value]) =>
    value !== null && typeof value === 'object' ? Object.keys(value).length > 0 : Boolean(value),
  );
  return Object.fromEntries(there) as Partial<T>;
}

/** The resources in a container's status: its limits at creation, overridden by later updates. */
export function mergedResources(
  old: LinuxContainerResources | null,
  change: LinuxContainerResources,
): LinuxContainerResources {
  if (!old) return change;
  const set = Object.entries(change).filter(([, value]) =>
    value !== null && typeof value === 'object' ? Object.keys(value).length > 0 : Boolean(value),
  );
  return { ...old, ...(Object.fromEntries(set) as Partial<LinuxContainerResources>) };
}
