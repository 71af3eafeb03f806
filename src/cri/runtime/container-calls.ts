/** RPCs on containers. */
import type { RuntimeHandlers } from '../api/services.ts';
import { invalid, unsupported } from '../api/status.ts';
import { containerStatus, describeContainer } from './describe.ts';
import { inParts, selectContainers } from './lists.ts';
import type { ServiceParts } from './parts.ts';

export function containerCalls({ pods, containers, images, events }: ServiceParts) {
  return {
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
      containers: selectContainers(pods, filter).map(([pod, container]) => describeContainer(pod, container)),
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
    streamContainers: async function* ({ filter }) {
      const all = selectContainers(pods, filter).map(([pod, container]) => describeContainer(pod, container));
      for (const part of inParts(all)) yield { containers: part };
    },
  } satisfies Partial<RuntimeHandlers>;
}
