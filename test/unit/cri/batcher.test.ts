import { expect, it } from 'vitest';
import { Batcher } from '../../../src/cri/runtime/batcher.ts';

it('the first goes at once, those that come meanwhile go together, not too many at a time', async () => {
  const goes: (readonly string[])[] = [];
  const release: (() => void)[] = [];
  const batcher = new Batcher((names) => {
    goes.push(names);
    return new Promise((done) => release.push(done));
  }, 2);
  const all = Promise.all(['a', 'b', 'c', 'd'].map((name) => batcher.add(name)));
  expect(goes).toEqual([['a']]);
  for (let i = 0; i < 3; i++) {
    release.shift()!();
    await new Promise(setImmediate);
  }
  await all;
  expect(goes).toEqual([['a'], ['b', 'c'], ['d']]);
});

// One sandbox that cannot be removed must not keep others, nor seem to be removed itself.
it('a failure is told to whom it belongs', async () => {
  const batcher = new Batcher(async (names) => {
    if (names.includes('bad')) throw new Error(`no ${names.join(' ')}`);
  });
  const results = await Promise.allSettled(['first', 'good', 'bad', 'fine'].map((name) => batcher.add(name)));
  expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
  expect(results[2]).toMatchObject({ reason: new Error('no bad') });
  await expect(batcher.add('later')).resolves.toBeUndefined();
});
