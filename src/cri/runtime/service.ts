/** RuntimeService: each RPC is one call to the part that does the work, and its answer as a message. */
import type { RuntimeHandlers } from '../api/services.ts';
import { containerCalls } from './container-calls.ts';
import type { ServiceParts } from './parts.ts';
import { podCalls } from './pod-calls.ts';
import { processCalls } from './process-calls.ts';
import { usageCalls } from './usage-calls.ts';

export function runtimeService(parts: ServiceParts): RuntimeHandlers {
  return {
    ...runtimeCalls(parts),
    ...podCalls(parts),
    ...containerCalls(parts),
    ...processCalls(parts),
    ...usageCalls(parts),
  };
}

function runtimeCalls({ health, events, version }: ServiceParts) {
  return {
    version: () => ({
      version: '0.1.0',
      runtimeName: 'kina',
      runtimeVersion: version,
      runtimeApiVersion: 'v1',
    }),
    status: ({ verbose }) => health.status(verbose),
    runtimeConfig: () => ({ linux: { cgroupDriver: 'CGROUPFS' } }),
    // the provider's network assigns addresses to sandboxes; the node's pod CIDR is not used
    updateRuntimeConfig: () => ({}),
    getContainerEvents: (_request, signal) => events.follow(signal),
  } satisfies Partial<RuntimeHandlers>;
}
