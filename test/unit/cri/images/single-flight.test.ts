import { expect, test } from 'vitest';
import { SingleFlight } from '../../../../src/cri/images/single-flight.ts';

/** Work that ends when it is told to. */
function controlled() {
  const begun: AbortSignal[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const work = (signal: AbortSignal): Promise<string> => {
    begun.push(signal);
    return promise;
  };
  return { begun, resolve, reject, work };
}

test('it is done once, and all get its result or its failure', async () => {
  const shared = new SingleFlight<string>();
  const { begun, work, resolve } = controlled();
  const all = Promise.all([shared.run('a', undefined, work), shared.run('a', undefined, work)]);
  resolve('done');
  expect(await all).toEqual(['done', 'done']);
  expect(begun).toHaveLength(1);
  const failing = controlled();
  const both = Promise.allSettled([shared.run('a', undefined, failing.work), shared.run('a', undefined, failing.work)]);
  failing.reject(new Error('no'));
  expect((await both).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
});

test('who leaves leaves at once, and the others get what they wait for', async () => {
  const shared = new SingleFlight<string>();
  const { begun, work, resolve } = controlled();
  const impatient = new AbortController();
  const left = shared.run('a', impatient.signal, work);
  const stayed = shared.run('a', undefined, work);
  impatient.abort();
  await expect(left).rejects.toMatchObject({ code: 'interrupted' });
  expect(begun[0]!.aborted).toBe(false);
  resolve('done');
  expect(await stayed).toBe('done');
});

test('the last to leave ends it; who comes then begins anew instead of joining the end', async () => {
  const shared = new SingleFlight<string>();
  const { begun, work } = controlled();
  const stop = new AbortController();
  const left = shared.run('a', stop.signal, work);
  stop.abort();
  await expect(left).rejects.toMatchObject({ code: 'interrupted' });
  expect(begun[0]!.aborted).toBe(true);
  expect(await shared.run('a', undefined, async () => 'new')).toBe('new');
  await expect(shared.run('a', stop.signal, work)).rejects.toMatchObject({ code: 'interrupted' });
  expect(begun).toHaveLength(1);
});
