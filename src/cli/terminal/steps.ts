/**
 * Steps on stderr. On a terminal each is a line with a spinner while its work runs (listr2) and its duration afterwards;
 * elsewhere a line at its start and one at its end, in the format of kind, so that scripts that match kind's output go on
 * working.
 */
import { ListrTaskState } from 'listr2';
import type { Steps } from '../../host/progress.ts';
import { seconds } from './format.ts';
import { drawRows, type Row } from './live.ts';
import { print, warn, warning } from './stderr.ts';

export interface ShownSteps extends Steps {
  /** Ends the live lines; afterwards stderr may be written to freely. */
  finish(): Promise<void>;
}

export function createSteps(options: { live: boolean; quiet: boolean; verbosity: number }): ShownSteps {
  const debug = (level: number, text: string): void => {
    if (level <= options.verbosity && !options.quiet) print(text.trimEnd());
  };
  if (options.quiet)
    return { step: (_title, work) => work(() => {}), debug, warn, info: () => {}, finish: async () => {} };
  if (!options.live || options.verbosity > 0)
    return { step: plainStep, debug, warn, info: print, finish: async () => {} };
  // Debug output would garble lines that are redrawn; it needs a verbosity, which turns them off.
  const steps = new LiveSteps();
  return {
    step: (title, work) => steps.step(title, work),
    debug,
    warn: (message) => steps.later(warning(message)),
    info: (message) => steps.later(message),
    finish: () => steps.finish(),
  };
}

const plainStep: Steps['step'] = async (title, work) => {
  print(` • ${title}  ...`);
  let note = '';
  const started = performance.now();
  try {
    const result = await work((said) => {
      note = said;
    });
    print(` ✓ ${line(title, note, started)}`);
    return result;
  } catch (error) {
    print(` ✗ ${line(title, note, started)}`);
    throw error;
  }
};

function line(title: string, note: string, started: number): string {
  const elapsed = performance.now() - started;
  return `${title}${note ? `: ${note}` : ''}${elapsed >= 1000 ? ` (${seconds(elapsed)})` : ''}`;
}

/** More than any command has; listr2 takes no tasks while it runs, and hides those that have not begun. */
const mostSteps = 24;

class LiveSteps {
  readonly #rows: Row[] = [];
  /** The current title of each running row. */
  readonly #running = new Map<Row, () => string>();
  /** Printed after the last line is drawn. */
  readonly #messages: string[] = [];
  readonly #over = Promise.withResolvers<void>();
  #list: Promise<unknown> | undefined;
  #begun: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #used = 0;

  step: Steps['step'] = async (title, work) => {
    this.#begun ??= this.#begin();
    await this.#begun;
    const row = this.#rows[this.#used++ % mostSteps]!;
    const started = performance.now();
    let note = '';
    const show = (): string => line(title, note, started);
    const set = (state: ListrTaskState): void => {
      row.title = show();
      row.state$ = state;
    };
    set(ListrTaskState.STARTED);
    this.#running.set(row, show);
    try {
      const result = await work((said) => {
        note = said;
        row.title = show();
      });
      this.#running.delete(row);
      set(ListrTaskState.COMPLETED);
      return result;
    } catch (error) {
      this.#running.delete(row);
      set(ListrTaskState.FAILED);
      throw error;
    }
  };

  /** Printed at once while no line is drawn, else after the last one. */
  later(message: string): void {
    if (this.#begun) this.#messages.push(message);
    else print(message);
  }

  async finish(): Promise<void> {
    clearInterval(this.#timer);
    this.#over.resolve();
    await this.#list;
    for (const message of this.#messages.splice(0)) print(message);
  }

  async #begin(): Promise<void> {
    const ready = Promise.withResolvers<void>();
    this.#timer = setInterval(() => {
      for (const [row, title] of this.#running) row.title = title();
    }, 500).unref();
    this.#list = drawRows(mostSteps, this.#over.promise, (row) => {
      if (this.#rows.push(row) === mostSteps) ready.resolve();
    });
    await ready.promise;
    for (const row of this.#rows) row.state$ = ListrTaskState.WAITING;
  }
}
