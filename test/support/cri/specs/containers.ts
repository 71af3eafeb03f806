/** Containers: from made to removed, programs run in them, what they use. */
import assert from 'node:assert/strict';
import type { ContainerStatsFilter } from '../../../../src/cri/api/messages.ts';
import type { Outgoing } from '../../../../src/cri/api/services.ts';
import { grpc, type Spec, type World, withContainer, withPod } from './spec.ts';

const listed = async ({ client }: World, id: string) =>
  (await client.call('listContainers', { filter: { id } })).containers.map((one) => one.id);

const removed = async (world: World, containerId: string): Promise<void> => {
  await world.client.call('removeContainer', { containerId });
  assert.deepEqual(await listed(world, containerId), []);
};

/** Ids of the containers that a filter finds figures of. */
async function measured({ client }: World, filter?: Outgoing<ContainerStatsFilter>): Promise<string[]> {
  const { stats } = await client.call('listContainerStats', filter ? { filter } : {});
  return stats.map(({ attributes }) => attributes!.id);
}

export const containers: readonly Spec[] = [
  {
    title: 'a container that was created is listed',
    run: (world) =>
      withPod(world, {}, async (pod) => {
        const id = await world.pods.create(pod, 'main', ['top']);
        assert.deepEqual(await listed(world, id), [id]);
        assert.equal((await world.pods.status(id)).state, 'CONTAINER_CREATED');
      }),
  },
  {
    title: 'status and list of a container have its metadata, labels and annotations',
    async run(world) {
      const metadata = { name: 'described', attempt: 3 };
      const labels = { foo: 'bar', 'io.kubernetes.container.name': 'described', 'io.kubernetes.pod.uid': 'another' };
      const wanted = { metadata, labels, annotations: { abc: 'def' } };
      await withContainer(world, wanted, async (id) => {
        const found = await world.client.call('listContainers', { filter: { id } });
        assert.equal(found.containers.length, 1);
        for (const said of [await world.pods.status(id), found.containers[0]!])
          assert.partialDeepStrictEqual(JSON.parse(JSON.stringify(said)), wanted);
      });
    },
  },
  {
    title: 'a container that was started is running',
    run: (world) =>
      withContainer(world, {}, async (id) => assert.equal((await world.pods.status(id)).state, 'CONTAINER_RUNNING')),
  },
  {
    title: 'a container that was stopped has ended',
    run: (world) =>
      withContainer(world, {}, async (containerId) => {
        await world.client.call('stopContainer', { containerId, timeout: 2 }, 60);
        const { state, finishedAt } = await world.pods.status(containerId);
        assert.equal(state, 'CONTAINER_EXITED');
        assert.ok(finishedAt > 0);
      }),
  },
  {
    title: 'a container that never ran can be removed',
    run: (world) => withPod(world, {}, async (pod) => removed(world, await world.pods.create(pod, 'main', ['top']))),
  },
  {
    title: 'a running container can be removed',
    run: (world) => withContainer(world, {}, (id) => removed(world, id)),
  },
  {
    title: 'a stopped container can be removed',
    run: (world) =>
      withContainer(world, {}, async (containerId) => {
        await world.client.call('stopContainer', { containerId, timeout: 2 }, 60);
        await removed(world, containerId);
      }),
  },
  {
    title: 'a program run in a container answers with its output and its code',
    run: (world) =>
      withContainer(world, {}, async (id) =>
        assert.deepEqual(await world.pods.exec(id, 'printf hello; printf oh >&2; exit 3'), {
          exitCode: 3,
          stdout: 'hello',
          stderr: 'oh',
        }),
      ),
  },
  {
    title: 'a program that exceeds its time is told so, and is gone',
    run: (world) =>
      withContainer(world, {}, async (containerId) => {
        const slow = world.client.call('execSync', { containerId, cmd: ['sleep', '4321'], timeout: 1 });
        await assert.rejects(slow, { code: grpc.deadlineExceeded });
        assert.equal(await world.pods.output(containerId, 'pgrep -f "[s]leep 4321" || echo none'), 'none');
      }),
  },
  {
    title: 'a container has figures of its processor time and memory',
    run: (world) =>
      withContainer(world, {}, async (containerId) => {
        const { stats } = await world.client.call('containerStats', { containerId });
        assert.equal(stats?.attributes?.id, containerId);
        assert.equal(stats.attributes.metadata?.name, 'main');
        assert.ok((stats.cpu?.timestamp ?? 0) > 1e18, 'nanoseconds since 1970');
        assert.ok((stats.memory?.timestamp ?? 0) > 1e18, 'nanoseconds since 1970');
        assert.ok((stats.memory?.workingSetBytes?.value ?? 0) > 0);
      }),
  },
  {
    title: 'figures of containers are found by id',
    run: (world) => withContainer(world, {}, async (id) => assert.deepEqual(await measured(world, { id }), [id])),
  },
  {
    title: 'figures of all containers have a running one',
    run: (world) => withContainer(world, {}, async (id) => assert.ok((await measured(world)).includes(id))),
  },
  {
    title: 'figures of all containers have three of one pod',
    run: (world) =>
      withPod(world, {}, async (pod) => {
        const ids = [];
        for (const name of ['one', 'two', 'three']) ids.push(await world.pods.run(pod, name, 'sleep 1000'));
        const found = await measured(world);
        assert.deepEqual(
          ids.filter((id) => !found.includes(id)),
          [],
        );
      }),
  },
  {
    title: 'figures of containers are found by labels, and not by others',
    run: (world) =>
      withContainer(world, { labels: { foo: 'bar', tier: 'front' } }, async (id) => {
        assert.deepEqual(await measured(world, { labelSelector: { foo: 'bar' } }), [id]);
        assert.deepEqual(await measured(world, { labelSelector: { foo: 'baz' } }), []);
      }),
  },
];
