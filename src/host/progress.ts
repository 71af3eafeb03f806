/**
 * How the rooms say what they are doing, without knowing a terminal. `cli/` supplies a reporter that draws; tests and
 * `--quiet` use `silent`.
 */

export type TaskKind = 'read' | 'compile' | 'fetch' | 'unpack' | 'assemble' | 'write' | 'compress' | 'output' | 'push';

/** One piece of work with an end. `done` or `fail` is called exactly once. */
export interface Task {
  /** Bytes done so far, and in all when known. May be called very often. */
  progress(doneBytes: number, totalBytes?: number): void;
  /** Ends the task; `cached` says that nothing had to be done. */
  done(note?: string, cached?: boolean): void;
  fail(): void;
}

export interface Reporter {
  task(kind: TaskKind, title: string): Task;
  /** Says how much of this kind is ahead, so that people see the end of it. */
  expect(kind: TaskKind, count: number, bytes: number): void;
  /** Something the person should know although the work goes on. */
  warn(message: string): void;
  info(message: string): void;
}

const nothing: Task = { progress() {}, done() {}, fail() {} };
export const silent: Reporter = { task: () => nothing, expect() {}, warn() {}, info() {} };

/** Work as a list of steps that people watch one after the other, e.g. the making of a cluster. */
export interface Steps {
  /** Shows a step while its work runs; `say` puts a note behind the title. Steps may overlap. */
  step<T>(title: string, work: (say: (note: string) => void) => Promise<T>): Promise<T>;
  /** Text for those who asked for so much: levels are kind's (1 what is counted, 2 configurations, 3 output of kubeadm, 5 manifests). */
  debug(level: number, text: string): void;
  warn(message: string): void;
  info(message: string): void;
}
