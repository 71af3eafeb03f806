/** A reporter that also records when each task began and ended, for the timeline of a build. */
import type { Reporter, TaskKind } from '../../host/progress.ts';

export interface RecordedTask {
  readonly kind: TaskKind;
  readonly title: string;
  /** Milliseconds since the recording began. */
  readonly start: number;
  readonly end: number;
  readonly bytes: number;
}
export interface Recording {
  readonly reporter: Reporter;
  /** Completed tasks that did work, without cached ones, in the order of their start. */
  tasks(): RecordedTask[];
}

/** Forwards everything to `inner`. */
export function record(inner: Reporter, now: () => number = () => performance.now()): Recording {
  const began = now();
  const tasks: RecordedTask[] = [];
  const reporter: Reporter = {
    ...inner,
    task(kind, title) {
      const task = inner.task(kind, title);
      const start = now() - began;
      let bytes = 0;
      return {
        progress(done, total) {
          bytes = done;
          task.progress(done, total);
        },
        done(note, cached) {
          if (!cached) tasks.push({ kind, title, start, end: now() - began, bytes });
          task.done(note, cached);
        },
        fail: () => task.fail(),
      };
    },
  };
  return { reporter, tasks: () => tasks.toSorted((a, b) => a.start - b.start) };
}

/**
 * An approximation of the critical path: from the task that ended last, back to the one that ended last before it began,
 * and so on. Dependencies between tasks are not recorded.
 */
export function longestWait(tasks: readonly RecordedTask[]): RecordedTask[] {
  const chain: RecordedTask[] = [];
  // A task without duration would precede itself.
  const lastBefore = (time: number) =>
    tasks.reduce<RecordedTask | undefined>(
      (last, task) => (task.end <= time && !chain.includes(task) && (!last || task.end > last.end) ? task : last),
      undefined,
    );
  for (let task = lastBefore(Number.POSITIVE_INFINITY); task; task = lastBefore(task.start)) chain.unshift(task);
  return chain;
}
