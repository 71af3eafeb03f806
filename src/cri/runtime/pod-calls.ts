/** RPCs on pod sandboxes. */
import type { RuntimeHandlers } from '../api/services.ts';
import { unsupported } from '../api/status.ts';
import { containerStatus, describePod, podStatus } from './describe.ts';
import { inParts, selectPods } from './lists.ts';
import type { ServiceParts } from './parts.ts';

export function podCalls({ pods, containers, images }: ServiceParts) {
  return {
    runPodSandbox: async (request, signal) => ({ podSandboxId: (await pods.run(request, signal)).id }),
    stopPodSandbox: async ({ podSandboxId }) => {
      await pods.stop(podSandboxId);
      return {};
    },
    removePodSandbox: async ({ podSandboxId }) => {
      await pods.remove(podSandboxId, (container) => containers.release(container));
      return {};
    },
    podSandboxStatus: ({ podSandboxId, verbose }) => {
      const pod = pods.get(podSandboxId);
      return {
        status: podStatus(pod),
        info: verbose ? { info: JSON.stringify({ machine: pod.record.machine, agent: pod.record.agent }) } : {},
        containersStatuses: [...pod.containers.values()].map((one) => containerStatus(one, images)),
        timestamp: `${BigInt(Date.now()) * 1_000_000n}`,
      };
    },
    listPodSandbox: ({ filter }) => ({ items: selectPods(pods, filter).map(describePod) }),
    updatePodSandboxResources: () => {
      throw unsupported(
        'changing the resources of a sandbox',
        'a virtual machine keeps the size that it was made with',
      );
    },
    streamPodSandboxes: async function* ({ filter }) {
      for (const part of inParts(selectPods(pods, filter).map(describePod))) yield { podSandboxes: part };
    },
  } satisfies Partial<RuntimeHandlers>;
}
