/**
 * Steps on stderr. On a terminal each is a line that turns while its work runs (listr2) and then says how long it took;
 * elsewhere a line at its start and one at its end, as kind writes them, so that scripts that watch for them go on
 * working.
 */
import { writeSync } from 'node:fs';
import { Listr, ListrLogger, ListrTaskState, ProcessOutput } from 'listr2';
import type { Steps } from '../host/progress.ts';
import { seconds } from './format.ts';

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

/** What listr2 calls a task, one line on the screen; only what is used here. */
interface Row {
  title?: string;
  state: string;
  state$: ListrTaskState;
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
  // listr2 hides the cursor: a process that ends at once must not leave it hidden.
  const showCursor = (): void => void writeSync(process.stderr.fd, '\x1b[?25h\n');

  const begin = async (): Promise<void> => {
    const ready = Promise.withResolvers<void>();
    process.once('exit', showCursor);
    timer = setInterval(() => {
      for (const [row, title] of running) row.title = title();
    }, 500).unref();
    const logger = new ListrLogger({ processOutput: new ProcessOutput(process.stderr, process.stderr) });
    const tasks = Array.from({ length: mostSteps }, () => ({
      title: ' ',
      task: (_context: unknown, wrapper: { task: Row }): Promise<void> => {
        if (rows.push(wrapper.task) === mostSteps) ready.resolve();
        return over.promise;
      },
    }));
    list = new Listr(tasks, {
      concurrent: true,
      exitOnError: false,
      registerSignalListeners: false,
      fallbackRendererCondition: false,
      renderer: 'default',
      rendererOptions: { logger, formatOutput: 'truncate', showErrorMessage: false },
    }).run();
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
      process.off('exit', showCursor);
      for (const message of messages.splice(0)) print(message);
    },
  };
}
