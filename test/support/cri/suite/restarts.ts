/** The end of the service, and its next start: what is under way, what happens while it is down. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, test } from 'vitest';
import type { CriHouse } from '../house.ts';
import { until } from '../pods.ts';
import { openChannels, openForward } from '../specs/channels.ts';

export function restarts(house: () => CriHouse): void {
  describe('a service that ends', () => {
    // after a test that failed
    beforeEach(async () => {
      if (!house().serving.isRunning) await house().restart('SIGTERM');
    });

    test('in order answers what it was asked, and finds its pods again', async () => {
      const { client, pods } = house();
      const pod = await pods.sandbox('orderly', { labels: { app: 'orderly' }, annotations: { hash: '5e6f' } });
      const id = await pods.run(pod, 'main', 'echo one; sleep 10000');
      const before = [await pods.sandboxStatus(pod.id), await pods.status(id)];
      const said = (line: string) =>
        client
          .call('execSync', { containerId: id, cmd: ['sh', '-c', line], timeout: 10 })
          .then(({ stdout }) => Buffer.from(stdout).toString());
      const asked = Promise.all([said('echo short'), said('sleep 3; echo long'), pods.sandbox('under-way')]);
      await sleep(200);
      await house().restart('SIGTERM');
      const [short, long, other] = await asked;
      expect([short, long]).toEqual(['short\n', 'long\n']);
      expect((await pods.sandboxStatus(other.id)).state).toBe('SANDBOX_READY');
      expect([await pods.sandboxStatus(pod.id), await pods.status(id)]).toEqual(before);
      expect(await pods.output(id, 'echo here')).toBe('here');
      await pods.remove(pod, other);
      expect(await house().leftovers()).toEqual([]);
    });

    test('in order ends log followers and sessions of containers, before it answers longer requests', async () => {
      const { client, pods, serving } = house();
      const pod = await pods.sandbox('followed');
      const id = await pods.run(pod, 'main', 'sleep 10000');
      const before = [await pods.sandboxStatus(pod.id), await pods.status(id)];
      const order: string[] = [];
      const events = client.stream('getContainerEvents', {});
      const heard: string[] = [];
      const followed = (async () => {
        for await (const { containerEventType } of events) heard.push(containerEventType);
      })().catch((error: { code: number; details: string }) => {
        order.push('follower');
        return error;
      });
      await until('the follower hears of what happens', 30, async () => {
        const brief = await pods.run(pod, 'brief', 'true');
        await client.call('removeContainer', { containerId: brief });
        return heard.includes('CONTAINER_STARTED_EVENT') ? true : undefined;
      });
      const asked = { containerId: id, stdin: true, stdout: true };
      const exec = await client.call('exec', { ...asked, cmd: ['cat'] });
      const talk = await openChannels(exec.url, 'SPDY', ['stdin', 'stdout']);
      await talk.send('stdin', 'hello');
      await until('the program answers', 10, async () => (talk.said('stdout') === 'hello' ? true : undefined));
      const attach = await client.call('attach', { containerId: id, stdout: true });
      const listening = await openChannels(attach.url, 'WebSocket', ['stdout']);
      const { url } = await client.call('portForward', { podSandboxId: pod.id, port: [80] });
      const tunnel = await openForward(url, 'SPDY');
      const cmd = ['sh', '-c', 'touch /begun; sleep 2; echo long'];
      const slow = client.call('execSync', { containerId: id, cmd, timeout: 10 }).then(({ stdout }) => {
        order.push('answer');
        return Buffer.from(stdout).toString();
      });
      await until('the slow program runs', 10, async () =>
        (await pods.exec(id, 'test -e /begun')).exitCode === 0 ? true : undefined,
      );
      await serving.end('SIGTERM');
      expect(await slow).toBe('long\n');
      expect(await followed).toMatchObject({ code: 14, details: 'the service ends' });
      expect(order).toEqual(['follower', 'answer']);
      await talk.ended();
      await expect(listening.ended()).rejects.toThrow('1006');
      await tunnel.closed();
      expect(await serving.said()).not.toContain('cut off');
      await house().restart('SIGTERM');
      expect([await pods.sandboxStatus(pod.id), await pods.status(id)]).toEqual(before);
      expect(await pods.output(id, 'ps -o args | grep -c "^[c]at"; echo here')).toBe('0\nhere');
      await pods.remove(pod);
      expect(await house().leftovers()).toEqual([]);
    });

    test('in order does not wait for who wants minutes', async () => {
      const { client, pods, serving } = house();
      const pod = await pods.sandbox('patient');
      const id = await pods.run(pod, 'main', 'trap "" TERM; echo ready; while :; do sleep 1; done');
      await pods.says(pod, 'main', 'ready');
      const stop = client.call('stopContainer', { containerId: id, timeout: 300 }, 330).then(
        () => 'stopped',
        ({ code }: { code: number }) => code,
      );
      await sleep(500);
      await serving.end('SIGTERM');
      expect(await serving.said()).toContain('calls that were not answered in 10 s are cut off');
      expect(await stop).not.toBe('stopped');
      await house().restart('SIGTERM');
      expect((await pods.status(id)).state).toBe('CONTAINER_RUNNING');
      await client.call('stopContainer', { containerId: id, timeout: 0 });
      expect(await pods.status(id)).toMatchObject({ state: 'CONTAINER_EXITED', exitCode: 137 });
      await pods.remove(pod);
    });

    test('does not miss what happens while it is down', async () => {
      const { host, pods, serving } = house();
      const [kept, lost] = [await pods.sandbox('kept'), await pods.sandbox('lost')];
      const [failing, hungry, idle] = [
        await pods.run(kept, 'failing', 'sleep 2; exit 9'),
        await pods.run(kept, 'hungry', 'sleep 2; dd if=/dev/zero of=/dev/null bs=100M count=1', {
          linux: { resources: { memoryLimitInBytes: 16 << 20 } },
        }),
        await pods.create(kept, 'idle', ['sleep', '10000']),
      ];
      const gone = await pods.run(lost, 'main', 'sleep 10000');
      const machines = await host.machines(serving.label);
      await serving.end('SIGKILL');
      await host.kill(machines.find((name) => name.includes(lost.id))!);
      await sleep(4000);
      await house().restart('SIGKILL');
      expect(await pods.status(failing)).toMatchObject({ state: 'CONTAINER_EXITED', exitCode: 9, reason: 'Error' });
      expect(await pods.status(hungry)).toMatchObject({ exitCode: 137, reason: 'OOMKilled' });
      expect(await pods.status(idle)).toMatchObject({ state: 'CONTAINER_CREATED' });
      expect(await pods.sandboxStatus(lost.id)).toMatchObject({ state: 'SANDBOX_NOTREADY' });
      expect(await pods.status(gone)).toMatchObject({ state: 'CONTAINER_EXITED', exitCode: 137 });
      const ended = (await pods.status(failing)).finishedAt;
      expect(Math.abs(Date.now() - ended / 1e6)).toBeLessThan(60_000);
      await pods.remove(kept, lost);
      expect(await house().leftovers()).toEqual([]);
    });

    test('removes a machine without a record, because its creation was never answered', async () => {
      const { client, host, pods, serving } = house();
      const pod = await pods.sandbox('unknown');
      const known = await pods.sandbox('known');
      await serving.end('SIGKILL');
      await rm(join(serving.root, 'sandboxes', pod.id), { recursive: true });
      await house().restart('SIGKILL');
      expect(await host.machines(serving.label)).toEqual([expect.stringContaining(known.id)]);
      expect((await client.call('listPodSandbox', {})).items.map(({ id }) => id)).toEqual([known.id]);
      await pods.remove(known);
      expect(await house().leftovers()).toEqual([]);
    });
  });
}
