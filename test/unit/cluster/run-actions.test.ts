/** The runner of a creation's actions: order, parallelism, and what happens after a failure. */
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { type Action, type ActionContext, runActions } from '../../../src/cluster/actions/run.ts';
import type { Steps } from '../../../src/host/progress.ts';

/** A context that records the titles that are shown. */
function newContext(signal = new AbortController().signal): ActionContext & { readonly shown: string[] } {
  const shown: string[] = [];
  const steps: Steps = {
    async step(title, work) {
      shown.push(title);
      return work((note) => shown.push(`${title}: ${note}`));
    },
    debug() {},
    warn() {},
    info() {},
  };
  return { shown, steps, signal };
}

/** Actions that write their start and their end into `log`. */
function recorder() {
  const log: string[] = [];
  const action = (name: string, after: string[] = [], more: Partial<Action<ActionContext>> = {}) => ({
    name,
    after,
    async run() {
      log.push(`${name} starts`);
      await sleep(1);
      log.push(`${name} ends`);
    },
    ...more,
  });
  return { log, action };
}

describe('order', () => {
  test('actions without a dependency run at the same time', async () => {
    const { log, action } = recorder();
    await runActions([action('a'), action('b')], newContext());
    expect(log.slice(0, 2)).toEqual(['a starts', 'b starts']);
  });

  test('an action starts when all its dependencies have finished', async () => {
    const { log, action } = recorder();
    await runActions([action('a'), action('b'), action('c', ['a', 'b']), action('d', ['c'])], newContext());
    expect(log.slice(4)).toEqual(['c starts', 'c ends', 'd starts', 'd ends']);
  });

  test('an action whose condition is false is skipped, and its dependants run', async () => {
    const { log, action } = recorder();
    await runActions([action('a', [], { when: () => false }), action('b', ['a'])], newContext());
    expect(log).toEqual(['b starts', 'b ends']);
  });

  test('a dependency that is not earlier in the list is refused before anything runs', async () => {
    const { log, action } = recorder();
    const refused = runActions([action('a', ['b']), action('b')], newContext());
    await expect(refused).rejects.toThrow('action a runs after b, which is not earlier in the list');
    expect(log).toEqual([]);
  });
});

describe('titles', () => {
  test('only actions with a title are shown, with their note', async () => {
    const context = newContext();
    const { action } = recorder();
    const noted = action('b', [], {
      title: ({ signal }) => `title ${signal.aborted}`,
      run: async (_context, say) => say('note'),
    });
    await runActions([action('a'), noted, action('c', [], { title: 'plain' })], context);
    expect(context.shown).toEqual(['title false', 'title false: note', 'plain']);
  });
});

describe('failure', () => {
  test('aborts what is running, waits for it, and skips the rest', async () => {
    const { log, action } = recorder();
    const failing = action('bad', [], {
      run: async () => {
        await sleep(1);
        throw new Error('broken');
      },
    });
    const long = action('long', [], {
      run: ({ signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            setTimeout(() => {
              log.push('long ends');
              reject(signal.reason);
            }, 5);
          });
        }),
    });
    const result = runActions([failing, long, action('next', ['bad']), action('last', ['next'])], newContext());
    await expect(result).rejects.toThrow('broken');
    expect(log).toEqual(['long ends']);
  });

  test('the first of several failures is the error', async () => {
    const { action } = recorder();
    const failing = (name: string, ms: number) =>
      action(name, [], {
        run: async () => {
          await sleep(ms);
          throw new Error(name);
        },
      });
    await expect(runActions([failing('late', 20), failing('early', 1)], newContext())).rejects.toThrow('early');
  });

  test('an abort of the caller ends the run with its reason', async () => {
    const controller = new AbortController();
    const { log, action } = recorder();
    const interrupting = action('a', [], { run: async () => controller.abort(new Error('interrupted')) });
    const result = runActions([interrupting, action('b', ['a'])], newContext(controller.signal));
    await expect(result).rejects.toThrow('interrupted');
    expect(log).toEqual([]);
  });
});
