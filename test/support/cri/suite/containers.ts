/** The life of a container: states, ends, what it says, what it may use. */
import { readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CriHouse } from '../house.ts';
import { busybox, type TestPod, until } from '../pods.ts';

const resources = (limits: object) => ({ linux: { resources: limits } });

/** A line of a log: time, stream, whole or part, text. */
const line = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(?:Z|[+-]\d\d:\d\d) (stdout|stderr) ([FP]) (.*)$/;

export function containerLifecycle(house: () => CriHouse): void {
  describe('a container', () => {
    let pod: TestPod;
    beforeAll(async () => {
      pod = await house().pods.sandbox('containers');
    });
    afterAll(() => house().pods.remove(pod));
    const logOf = (name: string) => join(pod.config.logDirectory!, `${name}.log`);
    const linesOf = async (path: string) =>
      (await readFile(path, 'utf8'))
        .trimEnd()
        .split('\n')
        .map((text) => line.exec(text)?.slice(1) ?? [text]);

    test('is CREATED, then RUNNING, then EXITED with its code, and gone when it is removed', async () => {
      const { client, pods } = house();
      const { imageRef } = await client.call('pullImage', { image: { image: busybox } });
      const id = await pods.create(pod, 'life', ['sh', '-c', 'sleep 2; exit 7'], {
        labels: { app: 'life' },
        annotations: { 'io.kubernetes.container.hash': '5e6f' },
      });
      expect(await pods.status(id)).toMatchObject({ state: 'CONTAINER_CREATED', startedAt: 0, finishedAt: 0 });
      await client.call('startContainer', { containerId: id });
      const running = await pods.status(id);
      expect(running).toMatchObject({
        state: 'CONTAINER_RUNNING',
        imageRef,
        imageId: imageRef,
        finishedAt: 0,
        logPath: logOf('life'),
        labels: { app: 'life' },
        annotations: { 'io.kubernetes.container.hash': '5e6f' },
        metadata: { name: 'life', attempt: 0 },
      });
      expect(running.startedAt).toBeGreaterThanOrEqual(running.createdAt);
      const ended = await pods.ended(id);
      expect(ended).toMatchObject({ exitCode: 7, reason: 'Error', startedAt: running.startedAt });
      expect(ended.finishedAt - ended.startedAt).toBeGreaterThan(1.9e9);
      for (const _ of [1, 2]) await client.call('removeContainer', { containerId: id });
      await expect(pods.status(id)).rejects.toMatchObject({ code: 5 });
    });

    test('is started by the first who asks; the second changes nothing', async () => {
      const { client, pods } = house();
      const id = await pods.create(pod, 'once', ['sleep', '1000']);
      const starts = await Promise.allSettled([1, 2].map(() => client.call('startContainer', { containerId: id })));
      const refused = starts.filter((one) => one.status === 'rejected').map(({ reason }) => reason.code);
      expect(refused).toEqual([9]);
      expect(await pods.status(id)).toMatchObject({ state: 'CONTAINER_RUNNING', reason: '' });
      await client.call('stopContainer', { containerId: id, timeout: 0 });
      expect(await pods.status(id)).toMatchObject({ state: 'CONTAINER_EXITED', exitCode: 137, reason: 'Error' });
    });

    test('that succeeds is Completed', async () => {
      const { pods } = house();
      const ended = await pods.ended(await pods.run(pod, 'completed', 'true'));
      expect(ended).toMatchObject({ exitCode: 0, reason: 'Completed' });
    });

    test('whose program is not there is a StartError', async () => {
      const { client, pods } = house();
      const created = pods.create(pod, 'absent', ['/no/such/program']);
      const id = await created.catch((error: { details: string }) => {
        expect(error.details).toMatch(/no such/i);
        return undefined;
      });
      if (id === undefined) return; // crun looks for it when it creates
      await expect(client.call('startContainer', { containerId: id })).rejects.toThrow(/no such/i);
      expect(await pods.status(id)).toMatchObject({ state: 'CONTAINER_EXITED', exitCode: 128, reason: 'StartError' });
    });

    test('that wants more memory than it may have is OOMKilled', async () => {
      const { pods } = house();
      const id = await pods.run(
        pod,
        'hungry',
        'dd if=/dev/zero of=/dev/null bs=100M count=1',
        resources({ memoryLimitInBytes: 16 << 20 }),
      );
      expect(await pods.ended(id)).toMatchObject({ exitCode: 137, reason: 'OOMKilled' });
    });

    test('runs other programs: output, errors and code are told apart', async () => {
      const { client, pods } = house();
      const id = await pods.run(pod, 'exec', 'sleep 1000');
      expect(await pods.exec(id, 'echo out; echo err >&2; exit 5')).toEqual({
        exitCode: 5,
        stdout: 'out\n',
        stderr: 'err\n',
      });
      const slow = client.call('execSync', { containerId: id, cmd: ['sleep', '4711'], timeout: 1 });
      await expect(slow).rejects.toMatchObject({ code: 4 });
      expect(await pods.output(id, 'pgrep -f "sleep [4]711" || echo none')).toBe('none');
    });

    test('that heeds TERM ends in its own way within the grace', async () => {
      const { client, pods } = house();
      const id = await pods.run(pod, 'heeds', 'trap "echo bye; exit 3" TERM; echo ready; while :; do sleep 0.1; done');
      await pods.says(pod, 'heeds', 'ready');
      await client.call('stopContainer', { containerId: id, timeout: 20 });
      expect(await pods.status(id)).toMatchObject({ state: 'CONTAINER_EXITED', exitCode: 3, reason: 'Error' });
      expect((await linesOf(logOf('heeds'))).at(-1)).toEqual(['stdout', 'F', 'bye']);
      await client.call('stopContainer', { containerId: id, timeout: 20 });
    });

    test('that ignores TERM is killed when the grace is over', async () => {
      const { client, pods } = house();
      const id = await pods.run(pod, 'ignores', 'trap "" TERM; echo ready; while :; do sleep 0.1; done');
      await pods.says(pod, 'ignores', 'ready');
      const start = Date.now();
      await client.call('stopContainer', { containerId: id, timeout: 2 });
      expect(Date.now() - start).toBeGreaterThanOrEqual(1900);
      expect(await pods.status(id)).toMatchObject({ state: 'CONTAINER_EXITED', exitCode: 137 });
    });

    test('writes its log as kubelet reads it, and into a new file after a reopening', async () => {
      const { client, pods } = house();
      const first = 'echo out; echo err >&2; head -c 20000 /dev/zero | tr "\\0" x; echo; printf "no end"; sleep 1';
      const id = await pods.run(pod, 'log', `${first}; echo; while :; do echo more; sleep 0.1; done`);
      const lines = await until('two seconds of log', 10, async () => {
        const all = await linesOf(logOf('log'));
        return all.at(-1)?.[2] === 'more' ? all : undefined;
      });
      // two pipes: what was said first is only known of each
      const said = (stream: string) => lines.filter(([one]) => one === stream);
      expect(said('stderr')).toEqual([['stderr', 'F', 'err']]);
      const [out, ...rest] = said('stdout');
      expect(out).toEqual(['stdout', 'F', 'out']);
      // long lines come in pieces, of which the last says so
      const whole = rest.slice(0, -1).filter(([, , text]) => text?.startsWith('x'));
      expect(whole.map(([, tag]) => tag)).toEqual([...whole.slice(1).map(() => 'P'), 'F']);
      expect(whole.length).toBeGreaterThan(1);
      expect(whole.map(([, , text]) => text).join('')).toBe('x'.repeat(20_000));
      expect(rest).toContainEqual(['stdout', 'F', 'no end']);

      await rename(logOf('log'), `${logOf('log')}.1`);
      await client.call('reopenContainerLog', { containerId: id });
      const after = await until('lines in the new file', 10, async () => {
        const all = await linesOf(logOf('log')).catch(() => []);
        return all.length > 2 ? all : undefined;
      });
      expect(after.every(([, , text]) => text === 'more')).toBe(true);
      const old = await readFile(`${logOf('log')}.1`, 'utf8');
      expect(old.endsWith(' more\n')).toBe(true);
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(await readFile(`${logOf('log')}.1`, 'utf8')).toBe(old);
      await client.call('removeContainer', { containerId: id });
    });

    test('gets other limits while it runs, and its cgroup has them', async () => {
      const { client, pods } = house();
      const id = await pods.run(
        pod,
        'limits',
        'sleep 1000',
        resources({ memoryLimitInBytes: 64 << 20, cpuShares: 512 }),
      );
      const memory = 'cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes';
      expect(await pods.output(id, memory)).toBe(String(64 << 20));
      await client.call('updateContainerResources', {
        containerId: id,
        linux: { memoryLimitInBytes: 96 << 20, cpuQuota: 50_000, cpuPeriod: 100_000 },
      });
      expect(await pods.output(id, memory)).toBe(String(96 << 20));
      const quota = 'cat /sys/fs/cgroup/cpu.max 2>/dev/null || cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us';
      expect(await pods.output(id, quota)).toMatch(/^50000\b/);
      expect((await pods.status(id)).resources?.linux).toMatchObject({
        memoryLimitInBytes: 96 << 20,
        cpuShares: 512,
        cpuQuota: 50_000,
      });
    });
  });
}
