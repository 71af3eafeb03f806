/**
 * Progress on stderr: on a terminal a few live lines, one per phase (listr2); elsewhere plain lines, the small things
 * summed up so that a CI log stays readable.
 */
import { Listr, ListrLogger, ProcessOutput } from 'listr2';
import type { Reporter, Task, TaskKind } from '../host/progress.ts';
import { bytes, seconds } from './format.ts';

export interface ProgressReporter extends Reporter {
  /** Ends the live lines; afterwards stderr may be written to freely. */
  finish(): Promise<void>;
}

interface Phase {
  readonly title: string;
  readonly done: string;
}
const shown: readonly TaskKind[] = ['read', 'fetch', 'unpack', 'write', 'output'];
const phases: Readonly<Record<TaskKind, Phase>> = {
  read: { title: 'Resolving', done: 'resolved' },
  fetch: { title: 'Fetching', done: 'fetched' },
  unpack: { title: 'Unpacking', done: 'unpacked' },
  write: { title: 'Writing layers', done: 'wrote' },
  compress: { title: 'Compressing', done: 'compressed' },
  output: { title: 'Writing output', done: 'wrote' },
};

/** `live`: draw on a terminal. `quiet`: warnings only. */
export function createReporter(options: {
  live: boolean;
  quiet: boolean;
  stream?: NodeJS.WriteStream;
}): ProgressReporter {
  const stream = options.stream ?? process.stderr;
  if (options.quiet) return plainReporter((line) => stream.write(`${line}\n`), true);
  return options.live ? liveReporter(stream) : plainReporter((line) => stream.write(`${line}\n`), false);
}

/** Files below this are summed up in plain output. */
const SMALL = 5_000_000;

function plainReporter(print: (line: string) => void, quiet: boolean): ProgressReporter {
  const small = new Map<TaskKind, { count: number; size: number }>();
  const flush = (): void => {
    for (const [kind, { count, size }] of small)
      if (!quiet) print(`${phases[kind].done} ${count} small files, ${bytes(size)}`);
    small.clear();
  };
  return {
    task(kind, title) {
      const started = performance.now();
      let size = 0;
      return {
        progress: (done) => {
          size = done;
        },
        done: (note, cached) => {
          if (quiet || cached) return;
          if (kind === 'read') return print(`${title}: ${note ?? 'done'} (${seconds(performance.now() - started)})`);
          if ((kind === 'fetch' || kind === 'unpack') && size < SMALL) {
            const sum = small.get(kind) ?? { count: 0, size: 0 };
            small.set(kind, { count: sum.count + 1, size: sum.size + size });
            return;
          }
          const elapsed = performance.now() - started;
          const rate = size > 0 && elapsed > 50 ? `, ${bytes((size / elapsed) * 1000)}/s` : '';
          print(
            `${phases[kind].done} ${title}${size > 0 ? `: ${bytes(size)} in ${seconds(elapsed)}${rate}` : ''}${note ? ` (${note})` : ''}`,
          );
        },
        fail: () => {},
      };
    },
    warn: (message) => print(`warning: ${message}`),
    info: (message) => {
      if (!quiet) print(message);
    },
    finish: async () => flush(),
  };
}

/** The two lines of a listr2 task that change while it runs. */
interface Wrapper {
  title: string;
  output: string;
}

interface LivePhase {
  running: Map<object, { title: string; done: number; total: number | undefined }>;
  count: number;
  size: number;
  first: number;
  last: number;
  note: string | undefined;
  readonly ended: Promise<void>;
  settle: (error?: Error) => void;
  failed?: boolean;
  wrapper: Wrapper | undefined;
  shown: number;
}

function liveReporter(stream: NodeJS.WriteStream): ProgressReporter {
  const states = new Map<TaskKind, LivePhase>();
  const messages: string[] = [];
  let list: Promise<unknown> | undefined;

  const describe = (kind: TaskKind, state: LivePhase): string => {
    const running = [...state.running.values()];
    const size = state.size + running.reduce((sum, t) => sum + t.done, 0);
    const elapsed = (state.running.size > 0 ? performance.now() : state.last) - state.first;
    const parts = [phases[kind].title];
    if (state.count + running.length > 1) parts.push(`${state.count} of ${state.count + running.length}`);
    if (size > 0) parts.push(bytes(size), elapsed > 200 ? `${bytes((size / elapsed) * 1000)}/s` : '');
    if (state.note && running.length === 0) parts.push(state.note);
    return parts.filter((p) => p !== '').join('  ');
  };
  const draw = (kind: TaskKind, state: LivePhase, force = false): void => {
    const now = performance.now();
    if (!state.wrapper || (!force && now - state.shown < 80)) return;
    state.shown = now;
    state.wrapper.title = describe(kind, state);
    const running = [...state.running.values()];
    const largest = running.sort((a, b) => (b.total ?? b.done) - (a.total ?? a.done)).slice(0, 3);
    state.wrapper.output = largest
      .map((t) => `${t.title}${t.done > 0 ? ` ${bytes(t.done)}${t.total ? ` of ${bytes(t.total)}` : ''}` : ''}`)
      .join(', ');
  };

  // listr2 takes no tasks while it runs, so all phases stand there from the start and end together.
  const logger = new ListrLogger({ processOutput: new ProcessOutput(stream, stream) });
  const start = (): Promise<unknown> =>
    new Listr(
      shown.map((kind) => ({
        title: phases[kind].title,
        task: (_context: unknown, wrapper: unknown): Promise<void> => {
          const state = phase(kind);
          state.wrapper = wrapper as Wrapper;
          if (state.first > 0) draw(kind, state, true);
          return state.ended;
        },
      })),
      {
        concurrent: true,
        exitOnError: false,
        registerSignalListeners: false,
        fallbackRendererCondition: false,
        renderer: 'default',
        rendererOptions: { logger, showErrorMessage: false, collapseSkips: false },
      },
    )
      .run()
      .catch(() => {});

  const phase = (kind: TaskKind): LivePhase => {
    const existing = states.get(kind);
    if (existing) return existing;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    promise.catch(() => {});
    const state: LivePhase = {
      running: new Map(),
      count: 0,
      size: 0,
      first: 0,
      last: 0,
      note: undefined,
      ended: promise,
      settle: (error) => (error ? reject(error) : resolve()),
      wrapper: undefined,
      shown: 0,
    };
    states.set(kind, state);
    return state;
  };

  return {
    task(kind, title): Task {
      const state = phase(kind);
      if (state.first === 0) state.first = performance.now();
      list ??= start();
      const key = {};
      const entry = { title, done: 0, total: undefined as number | undefined };
      state.running.set(key, entry);
      draw(kind, state);
      const end = (): void => {
        state.running.delete(key);
        state.last = performance.now();
      };
      return {
        progress: (done, total) => {
          entry.done = done;
          entry.total = total;
          draw(kind, state);
        },
        done: (note) => {
          state.count++;
          state.size += entry.done;
          state.note = note;
          end();
          draw(kind, state, state.running.size === 0);
        },
        fail: () => {
          state.failed = true;
          end();
          draw(kind, state, true);
        },
      };
    },
    warn: (message) => messages.push(`warning: ${message}`),
    info: (message) => messages.push(message),
    async finish() {
      for (const kind of shown) {
        const state = phase(kind);
        if (state.wrapper)
          state.wrapper.title = state.first > 0 ? describe(kind, state) : `${phases[kind].title}  nothing to do`;
        state.settle(state.failed ? new Error('failed') : undefined);
      }
      await list;
      for (const message of messages.splice(0)) stream.write(`${message}\n`);
    },
  };
}
