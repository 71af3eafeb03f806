/** Kubelets below 1.23 say `runtime.v1alpha2`: the same messages under another name. */
import { describe, expect, test } from 'vitest';
import { openCri } from '../client.ts';
import type { CriHouse } from '../house.ts';
import { busybox, Pods } from '../pods.ts';

export function olderVersion(house: () => CriHouse): void {
  describe('runtime.v1alpha2', () => {
    test('answers as runtime.v1 does, about the same pods', async () => {
      const { client, folder, pods, serving } = house();
      const old = openCri(serving.socket, 'v1alpha2');
      try {
        const said = await old.call('version', { version: '0.1.0' });
        expect(said).toEqual(await client.call('version', { version: '0.1.0' }));
        for (const text of Object.values(said)) expect(text).not.toBe('');
        const { status } = await old.call('status', {});
        expect(status?.conditions.map(({ type, status: is }) => [type, is])).toEqual([
          ['RuntimeReady', true],
          ['NetworkReady', true],
        ]);
        const { image } = await old.call('imageStatus', { image: { image: busybox } });
        expect(image?.repoTags).toContain(busybox);

        const older = new Pods(old, folder);
        const pod = await older.sandbox('older');
        const id = await older.run(pod, 'main', 'echo $SAID; sleep 1000', {
          envs: [{ key: 'SAID', value: Buffer.from('grüß dich') }], // text then, bytes now
        });
        expect(await older.output(id, 'echo $SAID')).toBe('grüß dich');
        expect(await older.status(id)).toEqual(await pods.status(id));
        expect((await client.call('listPodSandbox', { filter: { id: pod.id } })).items).toHaveLength(1);
        await older.remove(pod);
        expect((await client.call('listPodSandbox', { filter: { id: pod.id } })).items).toEqual([]);
      } finally {
        old.close();
      }
    });
  });
}
