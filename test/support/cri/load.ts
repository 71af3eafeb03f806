/**
 * Several clients that make and remove pods at the same time, and remember what the service has confirmed: that must be so
 * after whatever happens to the service. What it was asked and did not answer may have happened or not.
 */
import type { CriHouse } from './house.ts';
import type { TestPod } from './pods.ts';

/** Numbers below 1 that are the same for the same seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** By the pod's id: containers that were made, and of those that run. */
export type Confirmed = ReadonlyMap<string, { readonly created: string[]; readonly started: string[] }>;

export interface Load {
  /** Pods that were answered and not asked to go. */
  readonly confirmed: Confirmed;
  /** What went wrong while the service was well. */
  readonly failures: readonly string[];
  /** From here on failures are what is to be expected. */
  expectTrouble(): void;
  /** Resolves when no client does anything any more. */
  end(): Promise<void>;
}

/** Answers of a service that is going or gone: CANCELLED, UNAVAILABLE. */
const gone = [1, 14];

/** Small, and not used by anything else. */
const image = 'gcr.io/k8s-staging-cri-tools/test-image-1:latest';

export function startLoad({ client, pods }: CriHouse, clients: number, random: () => number): Load {
  const confirmed = new Map<string, { created: string[]; started: string[] }>();
  const failures: string[] = [];
  let isTroubled = false;
  let isOver = false;

  const onePod = async (name: string): Promise<void> => {
    const pod: TestPod = await pods.sandbox(name);
    const containers = { created: [] as string[], started: [] as string[] };
    confirmed.set(pod.id, containers);
    const id = await pods.create(pod, 'main', ['sh', '-c', 'echo begun; sleep 10000']);
    containers.created.push(id);
    await client.call('startContainer', { containerId: id });
    containers.started.push(id);
    const said = await pods.output(id, 'echo here');
    if (said !== 'here') failures.push(`a container says ${JSON.stringify(said)}`);
    if (random() < 0.4) return;
    confirmed.delete(pod.id);
    await pods.remove(pod);
  };
  const onePull = async (): Promise<void> => {
    await client.call('pullImage', { image: { image } });
    await client.call('removeImage', { image: { image } });
  };
  const loop = async (work: (round: number) => Promise<void>): Promise<void> => {
    for (let round = 0; !isOver; round++) {
      try {
        await work(round);
      } catch (error) {
        const { code, message } = error as { code?: number; message: string };
        // Also a program that was cut off: its code and output are what a killed service left of them.
        if (!isTroubled && !isOver) failures.push(message);
        else if (code !== undefined && !gone.includes(code)) failures.push(`while it went down: ${message}`);
        return;
      }
    }
  };
  const all = Array.from({ length: clients }, (_, i) => loop((round) => onePod(`load-${i}-${round}`)));
  all.push(loop(onePull));
  return {
    confirmed,
    failures,
    expectTrouble() {
      isTroubled = true;
    },
    async end() {
      isOver = true;
      await Promise.all(all);
    },
  };
}
