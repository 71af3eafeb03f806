/** One pod with one container. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { CriHouse } from '../house.ts';
import { until } from '../pods.ts';

export function onePod(house: () => CriHouse): void {
  test('runs, says something, runs another program, ends and leaves nothing', async () => {
    const { client, pods } = house();
    const pod = await pods.sandbox('short', { labels: { app: 'short' } });
    expect(await pods.sandboxStatus(pod.id)).toMatchObject({ state: 'SANDBOX_READY', labels: { app: 'short' } });
    const id = await pods.run(pod, 'main', 'trap "exit 3" TERM; echo said; while :; do sleep 0.1; done');
    expect(await pods.output(id, 'hostname')).toBe('short');
    const log = await until('a line in the log', 10, async () => {
      const text = await readFile(join(pod.config.logDirectory!, 'main.log'), 'utf8');
      return text.endsWith('\n') ? text : undefined;
    });
    expect(log).toMatch(/^\S+ stdout F said\n$/);
    await client.call('stopContainer', { containerId: id, timeout: 20 });
    expect(await pods.status(id)).toMatchObject({ state: 'CONTAINER_EXITED', exitCode: 3 });
    await client.call('removeContainer', { containerId: id });
    await pods.remove(pod);
    expect(await house().leftovers()).toEqual([]);
  });
}
