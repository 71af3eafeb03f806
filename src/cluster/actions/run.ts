/**
 * Runs a list of actions. Each starts as soon as the actions that it names in `after` have finished; all others run at
 * the same time. The first failure aborts what is still running, and `runActions` returns only when nothing runs any
 * more: the caller can clean up without racing against an action.
 */
import { KinaError } from '../../host/errors.ts';
import type { Steps } from '../../host/progress.ts';

export interface ActionContext {
  readonly steps: Steps;
  readonly signal: AbortSignal;
}

export interface Action<Context> {
  /** Unique in the list. */
  readonly name: string;
  /** Shown while the action runs. An action without a title runs silently. */
  readonly title?: string | ((context: Context) => string);
  /** Names of actions that come earlier in the list. */
  readonly after: readonly string[];
  /** An action whose condition is false is skipped and counts as finished. Default: always run. */
  readonly when?: (context: Context) => boolean;
  /** The signal of `context` is also aborted when another action fails. `say` sets the note behind the title. */
  readonly run: (context: Context, say: (note: string) => void) => Promise<void>;
}

/** Rejects with the error of the action that failed first, or with the reason of `context.signal`. */
export async function runActions<Context extends ActionContext>(
  actions: readonly Action<Context>[],
  context: Context,
): Promise<void> {
  checkOrder(actions);
  const failure = new AbortController();
  const shared = { ...context, signal: AbortSignal.any([context.signal, failure.signal]) };
  const finished = new Map<string, Promise<void>>();
  for (const action of actions) {
    const run = async (): Promise<void> => {
      await Promise.all(action.after.map((name) => finished.get(name)));
      if (shared.signal.aborted) return;
      await runAction(action, shared).catch((error) => failure.abort(error));
    };
    finished.set(action.name, run());
  }
  await Promise.all(finished.values());
  shared.signal.throwIfAborted();
}

/** Dependencies come earlier in the list, so that it can be read from top to bottom and has no cycles. */
function checkOrder(actions: readonly Action<never>[]): void {
  const earlier = new Set<string>();
  for (const { name, after } of actions) {
    const missing = after.find((one) => !earlier.has(one));
    if (missing !== undefined)
      throw new KinaError('internal', `action ${name} runs after ${missing}, which is not earlier in the list`);
    earlier.add(name);
  }
}

async function runAction<Context extends ActionContext>(action: Action<Context>, context: Context): Promise<void> {
  if (action.when && !action.when(context)) return;
  const title = typeof action.title === 'function' ? action.title(context) : action.title;
  if (title === undefined) return action.run(context, () => {});
  await context.steps.step(title, (say) => action.run(context, say));
}
