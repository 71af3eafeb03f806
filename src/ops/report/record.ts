/** A reporter that also remembers when each task began and ended; what a build's timeline is drawn from. */
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
  /** What has ended with work done; what was found done is left out. In order of beginning. */
  tasks(): RecordedTask[];
}

/** Passes everything on to `inner`. */
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
 * The chain that the build waited for: from the task that ended last, back to whichever ended last before that one
 * began. Dependencies are not recorded; these are the only possible ones.
 */
export function longestWait(tasks: readonly RecordedTask[]): RecordedTask[] {
  const chain: RecordedTask[] = [];
  // A task without length would come before itself.
  const lastBefore = (time: number) =>
    tasks.reduce<RecordedTask | undefined>(
      (last, task) => (task.end <= time && !chain.includes(task) && (!last || task.end > last.end) ? task : last),
      undefined,
    );
  for (let task = lastBefore(Number.POSITIVE_INFINITY); task; task = lastBefore(task.start)) chain.unshift(task);
  return chain;
}
