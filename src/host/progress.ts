/**
 * How the rooms report progress without knowing about terminals. `cli/` supplies a reporter that draws; tests and
 * `--quiet` use `silent`.
 */

export type TaskKind = 'read' | 'compile' | 'fetch' | 'unpack' | 'assemble' | 'write' | 'compress' | 'output' | 'push';

/** One unit of work. `done` or `fail` is called exactly once. */
export interface Task {
  /** Bytes done so far, and the total if known. May be called very often. */
  progress(doneBytes: number, totalBytes?: number): void;
  /** Ends the task; `cached` means that there was nothing to do. */
  done(note?: string, cached?: boolean): void;
  fail(): void;
}

export interface Reporter {
  task(kind: TaskKind, title: string): Task;
  /** Announces how much work of this kind is ahead, for the progress display. */
  expect(kind: TaskKind, count: number, bytes: number): void;
  /** Reports a problem that does not stop the work. */
  warn(message: string): void;
  info(message: string): void;
}

const nothing: Task = { progress() {}, done() {}, fail() {} };
export const silent: Reporter = { task: () => nothing, expect() {}, warn() {}, info() {} };

/** Work as a list of steps that are shown one after the other, e.g. the creation of a cluster. */
export interface Steps {
  /** Shows a step while its work runs; `say` adds a note behind the title. Steps may overlap. */
  step<T>(title: string, work: (say: (note: string) => void) => Promise<T>): Promise<T>;
  /** Text for `-v`; levels are kind's (1 counts, 2 configurations, 3 kubeadm output, 5 manifests). */
  debug(level: number, text: string): void;
  warn(message: string): void;
  info(message: string): void;
}
