/** Sandboxes without containers, their kernel settings, and the metrics of pods. */
import assert from 'node:assert/strict';
import { metricNames, rarelyMeasured } from './metrics.ts';
import { grpc, Skip, type Spec, type World, withContainer, withPod } from './spec.ts';

const listed = async ({ client }: World, id: string) =>
  (await client.call('listPodSandbox', { filter: { id } })).items.map((one) => one.id);

/** In all containers of a pod that asks for it. */
const sysctl = (title: string, name: string, value: string): Spec => ({
  title,
  run: (world) =>
    withContainer(
      world,
      {},
      async (id) => assert.equal(await world.pods.output(id, `cat /proc/sys/${name.replaceAll('.', '/')}`), value),
      { linux: { sysctls: { [name]: value } } },
    ),
});

async function descriptors({ client }: World): Promise<Map<string, readonly string[]>> {
  const answer = await client.call('listMetricDescriptors', {}).catch((error: { code?: number }) => {
    if (error.code === grpc.unimplemented) throw new Skip('no metrics: UNIMPLEMENTED');
    throw error;
  });
  for (const { name, help } of answer.descriptors) assert.ok(help, `${name} has a text`);
  return new Map(answer.descriptors.map(({ name, labelKeys }) => [name, labelKeys]));
}

export const sandboxes: readonly Spec[] = [
  {
    title: 'a sandbox that was run is ready and listed',
    run: (world) =>
      withPod(world, {}, async ({ id }) => {
        assert.equal((await world.pods.sandboxStatus(id)).state, 'SANDBOX_READY');
        assert.deepEqual(await listed(world, id), [id]);
      }),
  },
  {
    title: 'a sandbox that was stopped is not ready',
    run: (world) =>
      withPod(world, {}, async ({ id }) => {
        await world.client.call('stopPodSandbox', { podSandboxId: id });
        assert.equal((await world.pods.sandboxStatus(id)).state, 'SANDBOX_NOTREADY');
      }),
  },
  {
    title: 'a sandbox that was removed is not listed',
    run: (world) =>
      withPod(world, {}, async ({ id }) => {
        await world.pods.remove(id);
        assert.deepEqual(await listed(world, id), []);
      }),
  },
  {
    title: 'status and list of a sandbox have its metadata, labels and annotations',
    async run(world) {
      const metadata = { name: 'described', uid: 'uid-of-described', namespace: 'a-namespace', attempt: 2 };
      const labels = { foo: 'bar', 'io.kubernetes.pod.name': 'described', 'io.kubernetes.pod.uid': metadata.uid };
      const wanted = { metadata, labels, annotations: { abc: 'def' } };
      await withPod(world, wanted, async ({ id }) => {
        const { items } = await world.client.call('listPodSandbox', { filter: { id } });
        assert.equal(items.length, 1);
        for (const said of [await world.pods.sandboxStatus(id), items[0]!])
          assert.partialDeepStrictEqual(JSON.parse(JSON.stringify(said)), wanted);
      });
    },
  },
  sysctl('a pod has its own safe sysctl', 'kernel.shm_rmid_forced', '1'),
  sysctl('a pod has its own unsafe sysctl', 'fs.mqueue.msg_max', '100'),
  {
    title: 'every metric is described with its labels',
    async run(world) {
      const known = await descriptors(world);
      assert.deepEqual(
        metricNames.filter((name) => !known.get(name)?.length),
        [],
        'metrics that are not described, or without labels',
      );
    },
  },
  {
    title: 'a pod has a value of every metric, with as many labels as described',
    async run(world) {
      const known = await descriptors(world);
      const resources = { cpuPeriod: 100_000, cpuQuota: 20_000, cpuShares: 1024, memoryLimitInBytes: 64 << 20 };
      await withContainer(world, { linux: { resources } }, async (id, pod) => {
        await world.pods.output(id, 'seq 1 20 >/root/written; sync');
        const { podMetrics } = await world.client.call('listPodSandboxMetrics', {});
        const own = podMetrics.find(({ podSandboxId }) => podSandboxId === pod.id);
        assert.ok(own, 'the pod has metrics');
        const values = [...own.metrics, ...own.containerMetrics.flatMap(({ metrics }) => metrics)];
        const seen = new Set(values.map(({ name }) => name));
        assert.deepEqual(
          metricNames.filter((name) => !seen.has(name) && !rarelyMeasured.has(name)),
          [],
          'metrics without a value',
        );
        for (const { name, labelValues } of values)
          assert.equal(labelValues.length, known.get(name)?.length, `labels of ${name}`);
      });
    },
  },
];
