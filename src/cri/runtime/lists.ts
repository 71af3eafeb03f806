/** Lists of pods and containers that match a filter, and how streaming RPCs send them. */
import type { ContainerFilter, PodSandboxFilter } from '../api/messages.ts';
import { matchesContainer, matchesPod } from './describe.ts';
import type { Pod, PodContainer } from './pod.ts';
import type { Pods } from './pods.ts';

export const selectPods = (pods: Pods, filter: PodSandboxFilter | null): Pod[] =>
  [...pods.all.values()].filter((pod) => matchesPod(pod, filter));

export const selectContainers = (pods: Pods, filter: Partial<ContainerFilter> | null): [Pod, PodContainer][] =>
  [...pods.all.values()].flatMap((pod) =>
    [...pod.containers.values()]
      .filter((container) => matchesContainer(pod, container, filter))
      .map((container): [Pod, PodContainer] => [pod, container]),
  );

/** Messages with this many items are far below the size limit of clients. */
const streamed = 100;

export function* inParts<T>(items: readonly T[]): Generator<T[]> {
  for (let at = 0; at < items.length; at += streamed) yield items.slice(at, at + streamed);
}
