/** What is made and removed leaves no descriptor and no memory behind, in the service and in a sandbox's agent. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import type { CriHouse } from '../house.ts';
import { type TestPod, until } from '../pods.ts';

interface Amounts {
  readonly sandboxes: number;
  /** How many of them at once. */
  readonly alive: number;
  readonly execs: number;
}

interface Use {
  readonly descriptors: number;
  readonly mebibytes: number;
}

function useOf(pid: number): Use {
  const resident = /^VmRSS:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  return {
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    mebibytes: Math.round(Number(resident) / 1024),
  };
}

/** A garbage collector gives back late: what it may keep. What a hundred pods leak would be more. */
const memorySlack = 30;
/** Of idle connections, of the provider's programs just ending. */
const descriptorSlack = 8;

export function growth(house: () => CriHouse, { sandboxes, alive, execs }: Amounts): void {
  describe('what goes leaves no trace', () => {
    const onePod = async (name: string): Promise<TestPod> => {
      const { pods } = house();
      const pod = await pods.sandbox(name);
      const id = await pods.run(pod, 'main', 'echo begun; sleep 10000');
      await pods.output(id, 'true');
      return pod;
    };
    const show = (when: string, use: Use) =>
      console.log(`${when}: ${use.descriptors} descriptors, ${use.mebibytes} MiB in the service`);

    test(`in the service: ${sandboxes} sandboxes one after the other, ${alive} at once`, async () => {
      const { pods, serving } = house();
      // a pool has its connections, a heap its size
      for (let i = 0; i < 5; i++) await pods.remove(await onePod(`warm-${i}`));
      const before = useOf(serving.pid);
      show('before', before);
      for (let i = 0; i < sandboxes; i++) await pods.remove(await onePod(`one-${i}`));
      const after = useOf(serving.pid);
      show(`after ${sandboxes} sandboxes`, after);
      expect(after.descriptors).toBeLessThanOrEqual(before.descriptors + descriptorSlack);
      expect(after.mebibytes).toBeLessThanOrEqual(before.mebibytes + memorySlack);

      const all: TestPod[] = [];
      const clients = Array.from({ length: 3 }, async () => {
        while (all.length < alive) {
          const place = all.push({ id: '', config: {} }) - 1;
          all[place] = await onePod(`at-once-${place}`);
        }
      });
      await Promise.all(clients);
      const crowded = useOf(serving.pid);
      show(`with ${alive} sandboxes`, crowded);
      await pods.remove(...all);
      const last = useOf(serving.pid);
      show('without them', last);
      expect(last.descriptors).toBeLessThanOrEqual(before.descriptors + descriptorSlack);
      expect(last.mebibytes).toBeLessThanOrEqual(before.mebibytes + memorySlack);
      expect(await house().leftovers()).toEqual([]);
    });

    test(`in a sandbox’s agent: ${execs} programs run in a container`, async () => {
      const { pods } = house();
      const pod = await pods.sandbox('agent');
      const id = await pods.run(pod, 'main', 'sleep 10000', {
        // with the sandbox's own processes, so that its first one can be looked at
        linux: { securityContext: { namespaceOptions: { pid: 'NODE' } } },
      });
      const use = () => pods.output(id, 'ls /proc/1/fd | wc -l; grep -c . /proc/mounts; ls -d /proc/[0-9]* | wc -l');
      const oneContainer = async (name: string): Promise<void> => {
        const containerId = await pods.run(pod, name, 'sleep 10000');
        await house().client.call('removeContainer', { containerId });
      };
      // the first that shares processes brings the process that keeps their namespace
      await oneContainer('first');
      for (let i = 0; i < 5; i++) await pods.output(id, 'true');
      const before = await use();
      for (let i = 0; i < execs; i++) await pods.exec(id, 'echo out; echo err >&2; exit 1');
      // what a container leaves is thrown away in the background
      const asBefore = (what: string) =>
        until(`${what}: as before, ${before}`, 15, async () => ((await use()) === before ? true : undefined));
      await asBefore(`${execs} programs`);
      for (let i = 0; i < 10; i++) await oneContainer(`other-${i}`);
      await asBefore('ten containers');
      await pods.remove(pod);
    });
  });
}
