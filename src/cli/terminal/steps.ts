/**
 * Steps on stderr. On a terminal each is a line that turns while its work runs (listr2) and then says how long it took;
 * elsewhere a line at its start and one at its end, as kind writes them, so that scripts that watch for them go on
 * working.
 */
import { ListrTaskState } from 'listr2';
import type { Steps } from '../../host/progress.ts';
import { seconds } from './format.ts';
import { drawRows, type Row } from './live.ts';

export interface ShownSteps extends Steps {
  /** Ends the live lines; afterwards stderr may be written to freely. */
  finish(): Promise<void>;
}

export function createSteps(options: { live: boolean; quiet: boolean; verbosity: number }): ShownSteps {
  const print = (line: string): void => void process.stderr.write(`${line}\n`);
  const debug = (level: number, text: string): void => {
    if (level <= options.verbosity && !options.quiet) print(text.trimEnd());
  };
  if (options.quiet)
    return {
      step: (_title, work) => work(() => {}),
      debug,
      warn: (message) => print(`WARNING: ${message}`),
      info: () => {},
      finish: async () => {},
    };
  // Text between lines that are drawn again and again would be unreadable.
  const steps = options.live && options.verbosity === 0 ? liveSteps(print) : plainSteps(print);
  return { ...steps, debug };
}

type UndebuggedSteps = Omit<ShownSteps, 'debug'>;

function plainSteps(print: (line: string) => void): UndebuggedSteps {
  return {
    async step(title, work) {
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
    },
    warn: (message) => print(`WARNING: ${message}`),
    info: print,
    finish: async () => {},
  };
}

function line(title: string, note: string, started: number): string {
  const elapsed = performance.now() - started;
  return `${title}${note ? `: ${note}` : ''}${elapsed >= 1000 ? ` (${seconds(elapsed)})` : ''}`;
}

/** More than any command has; listr2 takes no tasks while it runs, and shows none that was not begun. */
const mostSteps = 24;

function liveSteps(print: (line: string) => void): UndebuggedSteps {
  const rows: Row[] = [];
  const over = Promise.withResolvers<void>();
  const running = new Map<Row, () => string>();
  const messages: string[] = [];
  let list: Promise<unknown> | undefined;
  let timer: NodeJS.Timeout | undefined;
  let used = 0;
  const begin = async (): Promise<void> => {
    const ready = Promise.withResolvers<void>();
    timer = setInterval(() => {
      for (const [row, title] of running) row.title = title();
    }, 500).unref();
    list = drawRows(mostSteps, over.promise, (row) => {
      if (rows.push(row) === mostSteps) ready.resolve();
    });
    await ready.promise;
    for (const row of rows) row.state$ = ListrTaskState.WAITING;
  };

  let begun: Promise<void> | undefined;
  return {
    async step(title, work) {
      begun ??= begin();
      await begun;
      const row = rows[used++ % mostSteps]!;
      const started = performance.now();
      let note = '';
      row.state$ = ListrTaskState.STARTED;
      const show = (): string => line(title, note, started);
      row.title = show();
      running.set(row, show);
      const end = (state: ListrTaskState): void => {
        running.delete(row);
        row.title = show();
        row.state$ = state;
      };
      try {
        const result = await work((said) => {
          note = said;
          row.title = show();
        });
        end(ListrTaskState.COMPLETED);
        return result;
      } catch (error) {
        end(ListrTaskState.FAILED);
        throw error;
      }
    },
    warn: (message) => void messages.push(`WARNING: ${message}`),
    info: (message) => void messages.push(message),
    async finish() {
      clearInterval(timer);
      over.resolve();
      await list;
      for (const message of messages.splice(0)) print(message);
    },
  };
}
