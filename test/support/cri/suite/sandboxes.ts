/** The life of a sandbox, from its first answer to nothing left. */
import { describe, expect, test } from 'vitest';
import type { CriHouse } from '../house.ts';
import { until } from '../pods.ts';

/** gRPC's number of NOT_FOUND. */
const notFound = 5;

export function sandboxLifecycle(house: () => CriHouse): void {
  describe('a sandbox', () => {
    let id: string;

    test('is READY when the call returns, with an address that this host reaches', async () => {
      const { pods, client } = house();
      const config = await pods.config('life', {
        metadata: { name: 'life', uid: 'uid-of-life', namespace: 'kube-system', attempt: 3 },
        labels: { app: 'life', 'k8s.io/tier': 'a=b' },
        // longer than a label of any provider may be
        annotations: { 'kubernetes.io/config.hash': 'x'.repeat(5000), empty: '' },
      });
      id = (await client.call('runPodSandbox', { config })).podSandboxId;
      const status = await pods.sandboxStatus(id);
      expect(status.state).toBe('SANDBOX_READY');
      expect(status.createdAt).toBeGreaterThan(1e18);
      const pod = { id, config };
      await pods.run(pod, 'web', 'mkdir /www; echo from the pod >/www/index.html; exec httpd -f -p 8080 -h /www');
      const page = await until('the pod answers this host', 10, () =>
        fetch(`http://${status.network?.ip}:8080/`).then(
          (answer) => answer.text(),
          () => undefined,
        ),
      );
      expect(page).toBe('from the pod\n');
    });

    test('is listed as it was asked for', async () => {
      const { client } = house();
      const { items } = await client.call('listPodSandbox', { filter: { labelSelector: { app: 'life' } } });
      expect(items).toMatchObject([
        {
          id,
          state: 'SANDBOX_READY',
          runtimeHandler: '',
          metadata: { name: 'life', uid: 'uid-of-life', namespace: 'kube-system', attempt: 3 },
          labels: { app: 'life', 'k8s.io/tier': 'a=b' },
          annotations: { 'kubernetes.io/config.hash': 'x'.repeat(5000), empty: '' },
        },
      ]);
      const none = await client.call('listPodSandbox', { filter: { id, labelSelector: { app: 'other' } } });
      expect(none.items).toEqual([]);
    });

    test('exists once: the same pod again is refused until it is removed', async () => {
      const { client, pods } = house();
      const config = await pods.config('life', {
        metadata: { name: 'life', uid: 'uid-of-life', namespace: 'kube-system', attempt: 3 },
      });
      await expect(client.call('runPodSandbox', { config })).rejects.toMatchObject({ code: 6 });
    });

    test('is NOTREADY after a stop and takes nothing of the provider, and a second stop is fine', async () => {
      const { client, host, pods, serving } = house();
      for (const _ of [1, 2]) {
        await client.call('stopPodSandbox', { podSandboxId: id });
        expect((await pods.sandboxStatus(id)).state).toBe('SANDBOX_NOTREADY');
        expect([await host.machines(serving.label), await host.orphanedVolumes()]).toEqual([[], []]);
      }
      const { containers } = await client.call('listContainers', { filter: { podSandboxId: id } });
      expect(containers.map(({ state }) => state)).toEqual(['CONTAINER_EXITED']);
    });

    test('is gone after a removal, and a second one is fine', async () => {
      const { client, pods } = house();
      for (const _ of [1, 2]) await client.call('removePodSandbox', { podSandboxId: id });
      await expect(pods.sandboxStatus(id)).rejects.toMatchObject({ code: notFound });
      expect((await client.call('listPodSandbox', { filter: { id } })).items).toEqual([]);
    });

    test('that is unknown can be stopped and removed', async () => {
      const { client } = house();
      for (const name of ['stopPodSandbox', 'removePodSandbox'] as const)
        await client.call(name, { podSandboxId: 'f'.repeat(32) });
    });

    test('that was removed leaves nothing on the provider, below the root or in the kernel', async () => {
      expect(await house().leftovers()).toEqual([]);
    });

    test('whose machine ends by itself is NOTREADY, its containers have ended, and it can be removed', async () => {
      const { client, host, pods, serving } = house();
      const pod = await pods.sandbox('crashed');
      const container = await pods.run(pod, 'main', 'sleep 1000');
      const [machine] = await host.machines(serving.label);
      await host.kill(machine!);
      await until('the service notices', 40, async () =>
        (await pods.sandboxStatus(pod.id)).state === 'SANDBOX_NOTREADY' ? true : undefined,
      );
      expect(await pods.status(container)).toMatchObject({ state: 'CONTAINER_EXITED', exitCode: 137, reason: 'Error' });
      await client.call('removePodSandbox', { podSandboxId: pod.id });
      expect(await house().leftovers()).toEqual([]);
    });
  });
}
