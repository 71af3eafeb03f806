/** What happens to containers, for whoever follows (`GetContainerEvents`). */
import type { ContainerEventResponse, ContainerEventType } from '../api/messages.ts';
import type { Sent } from '../api/services.ts';
import type { ImageLibrary } from '../images/library.ts';
import { containerStatus, sandboxStatus } from './describe.ts';
import { nanoseconds, type Pod } from './pod.ts';

/** Events that a follower has not taken: more than this, and it is cut off, to ask for everything again. */
const longest = 10_000;

export class Events {
  readonly #followers = new Set<(event: Sent<ContainerEventResponse>) => void>();
  readonly #images: ImageLibrary;

  constructor(images: ImageLibrary) {
    this.#images = images;
  }

  /** `id` is a container's, or the sandbox's for events of the sandbox itself. */
  tell(type: ContainerEventType, pod: Pod, id: string): void {
    if (this.#followers.size === 0) return;
    const event: Sent<ContainerEventResponse> = {
      containerId: id,
      containerEventType: type,
      createdAt: nanoseconds(),
      podSandboxStatus: sandboxStatus(pod),
      containersStatuses: [...pod.containers.values()].map((one) => containerStatus(one, this.#images)),
    };
    for (const follower of this.#followers) follower(event);
  }

  async *follow(signal: AbortSignal): AsyncGenerator<Sent<ContainerEventResponse>> {
    const waiting: Sent<ContainerEventResponse>[] = [];
    let wake: () => void = () => {};
    const follower = (event: Sent<ContainerEventResponse>): void => {
      waiting.push(event);
      wake();
    };
    this.#followers.add(follower);
    signal.addEventListener('abort', () => wake());
    try {
      while (!signal.aborted && waiting.length < longest) {
        for (const event of waiting.splice(0)) yield event;
        if (waiting.length === 0 && !signal.aborted) await new Promise<void>((resume) => (wake = resume));
      }
    } finally {
      this.#followers.delete(follower);
    }
  }
}
