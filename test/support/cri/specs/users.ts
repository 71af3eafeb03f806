/** User namespaces: a pod's own numbers of users, or the node's. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import type { IDMapping, UserNamespace } from '../../../../src/cri/api/messages.ts';
import { refused, Skip, type Spec, secured, type World, withPod } from './spec.ts';

const mapping: IDMapping = { containerId: 0, hostId: 1000, length: 100_000 };

async function claimed({ client }: World): Promise<void> {
  const { runtimeHandlers } = await client.call('status', {});
  const own = runtimeHandlers.find(({ name }) => name === '');
  if (!own?.features?.userNamespaces) throw new Skip('user namespaces are not claimed');
}

const context = (usernsOptions: Partial<UserNamespace>) => secured({ namespaceOptions: { usernsOptions } });

/** The kernel's table of users, in fields. */
const table = (text: string): string[][] =>
  text
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/));

const mapped = (title: string, options: Partial<UserNamespace>, expected: () => Promise<string[][]>): Spec => ({
  title,
  async run(world) {
    await claimed(world);
    await withPod(world, context(options), async (pod) => {
      const id = await world.pods.run(pod, 'main', 'sleep 1000', context(options));
      assert.deepEqual(table(await world.pods.output(id, 'cat /proc/self/uid_map')), await expected());
      assert.equal(await world.pods.output(id, 'id -u; stat -c %u /bin/busybox'), '0\n0');
    });
  },
});

const refusedPod = (title: string, options: Partial<UserNamespace>): Spec => ({
  title,
  async run(world) {
    await claimed(world);
    await refused(withPod(world, context(options), async () => {}));
  },
});

export const users: readonly Spec[] = [
  mapped(
    'a pod has users of its own, which are others on the node',
    { mode: 'POD', uids: [mapping], gids: [mapping] },
    async () => [['0', '1000', '100000']],
  ),
  mapped('a pod has the node’s users', { mode: 'NODE' }, async () =>
    table(await readFile('/proc/self/uid_map', 'utf8')),
  ),
  refusedPod('a pod with two ranges of users is refused', {
    mode: 'POD',
    uids: [mapping, { ...mapping, hostId: 2000 }],
    gids: [mapping, { ...mapping, hostId: 2000 }],
  }),
  refusedPod('a pod whose users have no 0 is refused', {
    mode: 'POD',
    uids: [{ ...mapping, containerId: 1 }],
    gids: [{ ...mapping, containerId: 1 }],
  }),
  refusedPod('a pod with users of a container is refused', { mode: 'CONTAINER' }),
  refusedPod('a pod with users of a target is refused', { mode: 'TARGET' }),
];
