/**
 * The end of the service at any moment under load, and its next start: what was confirmed is so, what was half made is
 * gone, what ended meanwhile has its exit code. The moments are random; a failure names the seed (KINA_TEST_SEED repeats it).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { CriHouse } from '../house.ts';
import { type Confirmed, randomNumbers, startLoad } from '../load.ts';
import { type TestPod, until } from '../pods.ts';

/** Seconds in which everything has to be in order: the service looks every 30. */
const settling = 45;

export function kills(house: () => CriHouse, options: { rounds: number; clients: number }): void {
  test(`a service is killed ${options.rounds} times under load, and nothing is lost or left`, async () => {
    const seed = Number(process.env.KINA_TEST_SEED ?? Date.now() % 1e6);
    const random = randomNumbers(seed);
    const { pods } = house();
    const keeper = await pods.sandbox('keeper', { annotations: { note: 'kept' } });
    const main = await pods.run(keeper, 'main', 'echo begun; sleep 10000');
    const before = [await pods.sandboxStatus(keeper.id), await pods.status(main)];
    let kept = 0;
    for (let round = 0; round < options.rounds; round++) {
      const code = (round % 100) + 1;
      const ending = await pods.run(keeper, `ending-${round}`, `sleep 1; exit ${code}`);
      const confirmed = await oneKill(house(), options.clients, random).catch((error: Error) => {
        throw new Error(`seed ${seed}, round ${round}: ${error.message}`, { cause: error });
      });
      const where = `seed ${seed}, round ${round}`;
      expect([await pods.sandboxStatus(keeper.id), await pods.status(main)], where).toEqual(before);
      expect((await pods.ended(ending)).exitCode, where).toBe(code);
      expect(await stateOf(house(), confirmed), where).toEqual(expected(confirmed));
      await settled(house(), where);
      await removeOthers(house(), keeper);
      kept += confirmed.size;
    }
    console.log(`${options.rounds} kills (seed ${seed}): ${kept} pods were there and stayed`);
    await pods.remove(keeper);
    expect(await house().leftovers()).toEqual([]);
  });
}

/** Load for a random time, the end, a new start, which may be killed as well. Answers with what has to be there. */
async function oneKill(house: CriHouse, clients: number, random: () => number): Promise<Confirmed> {
  const { serving } = house;
  const load = startLoad(house, clients, random);
  await sleep(100 + random() * 2500);
  load.expectTrouble();
  await serving.end(random() < 0.2 ? 'SIGTERM' : 'SIGKILL');
  await load.end();
  if (load.failures.length > 0) throw new Error(load.failures.join('\n'));
  if (random() < 0.4) {
    const starting = serving.start().catch(() => {});
    await sleep(random() * 2000);
    await serving.end('SIGKILL');
    await starting;
  }
  await house.restart('SIGKILL');
  return load.confirmed;
}

const expected = (confirmed: Confirmed) =>
  [...confirmed].map(([id, { created, started }]) => ({
    id,
    state: 'SANDBOX_READY',
    created,
    started: started.map(() => 'here'),
  }));

/** What is there of these; containers that run by what a program in them says. */
async function stateOf({ client, pods }: CriHouse, wanted: Confirmed) {
  const { items } = await client.call('listPodSandbox', {});
  const states = new Map(items.map(({ id, state }) => [id, state]));
  const { containers } = await client.call('listContainers', {});
  const ids = containers.map(({ id }) => id);
  return Promise.all(
    [...wanted].map(async ([id, { created, started }]) => ({
      id,
      state: states.get(id),
      created: created.filter((one) => ids.includes(one)),
      started: await Promise.all(started.map((one) => pods.output(one, 'echo here'))),
    })),
  );
}

/** Every machine, folder and volume belongs to a pod that is listed; every pod that is READY has a machine. */
async function settled(house: CriHouse, where: string): Promise<void> {
  const { client, host, serving } = house;
  let left: string[] = [];
  await until(`${where}: nothing is half there`, settling, async () => {
    const { items } = await client.call('listPodSandbox', {});
    const ids = items.map(({ id }) => id);
    left = (await house.leftovers()).filter((one) => !one.startsWith('loop') && !ids.some((id) => one.includes(id)));
    return left.length === 0 ? true : undefined;
  }).catch((error: Error) => {
    throw new Error(`${error.message}, but there are\n${left.join('\n')}`);
  });
  const { items } = await client.call('listPodSandbox', { filter: { state: { state: 'SANDBOX_READY' } } });
  const machines = await host.machines(serving.label);
  for (const { id } of items) expect(machines, where).toContainEqual(expect.stringContaining(id));
}

async function removeOthers({ client, pods }: CriHouse, keeper: TestPod): Promise<void> {
  const { items } = await client.call('listPodSandbox', {});
  await Promise.all(items.filter(({ id }) => id !== keeper.id).map(({ id }) => pods.remove(id)));
}
