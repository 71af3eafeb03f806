/** Events of containers, for followers (`GetContainerEvents`). */
import type { ContainerEventResponse, ContainerEventType } from '../api/messages.ts';
import type { Outgoing } from '../api/services.ts';
import { RpcError } from '../api/status.ts';
import type { ImageLibrary } from '../images/library.ts';
import { containerStatus, podStatus } from './describe.ts';
import { nanoseconds, type Pod } from './pod.ts';

/** Maximum of unread events per follower. Beyond it the follower is disconnected, and has to list everything again. */
const longest = 10_000;

export class Events {
  readonly #followers = new Set<(event: Outgoing<ContainerEventResponse>) => void>();
  readonly #images: ImageLibrary;
  readonly #closing = new AbortController();

  constructor(images: ImageLibrary) {
    this.#images = images;
  }

  /** `id` is a container's, or the sandbox's for events of the sandbox itself. */
  tell(type: ContainerEventType, pod: Pod, id: string): void {
    if (this.#followers.size === 0) return;
    const event: Outgoing<ContainerEventResponse> = {
      containerId: id,
      containerEventType: type,
      createdAt: nanoseconds(),
      podSandboxStatus: podStatus(pod),
      containersStatuses: [...pod.containers.values()].map((one) => containerStatus(one, this.#images)),
    };
    for (const follower of this.#followers) follower(event);
  }

  /** Until the signal aborts. Throws `RESOURCE_EXHAUSTED` when the follower does not read, `UNAVAILABLE` after `close`. */
  async *follow(signal: AbortSignal): AsyncGenerator<Outgoing<ContainerEventResponse>> {
    const waiting: Outgoing<ContainerEventResponse>[] = [];
    let wake: () => void = () => {};
    let isCutOff = false;
    // checked here, because the code that passes events on waits for the client
    const follower = (event: Outgoing<ContainerEventResponse>): void => {
      isCutOff = waiting.push(event) > longest;
      if (isCutOff) {
        this.#followers.delete(follower);
        waiting.length = 0;
      }
      wake();
    };
    this.#followers.add(follower);
    const awaken = (): void => wake();
    signal.addEventListener('abort', awaken);
    this.#closing.signal.addEventListener('abort', awaken);
    try {
      while (!signal.aborted && !isCutOff) {
        const event = waiting.shift();
        if (event) yield event;
        else if (this.#closing.signal.aborted) throw new RpcError('UNAVAILABLE', 'the service ends');
        else await new Promise<void>((resume) => (wake = resume));
      }
      if (isCutOff) throw new RpcError('RESOURCE_EXHAUSTED', `more than ${longest} events wait to be read`);
    } finally {
      this.#followers.delete(follower);
      this.#closing.signal.removeEventListener('abort', awaken);
    }
  }

  /** Followers get the earlier events, then the end of the stream. */
  close(): void {
    this.#closing.abort();
  }
}
