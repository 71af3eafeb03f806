/** Progress on a terminal: a live line for each phase that has begun. */
import { styleText } from 'node:util';
import { ListrTaskState } from 'listr2';
import type { Task, TaskKind } from '../../host/progress.ts';
import { drawRows, type Row } from './live.ts';
import { kinds, type Phase, Phases, words } from './phases.ts';
import { print, warning } from './stderr.ts';

/** Milliseconds between two updates of a line; the spinner turns on its own. */
const refreshEvery = 200;

export class LiveProgress {
  readonly #phases = new Phases();
  readonly #rows = new Map<TaskKind, Row>();
  /** Printed after the last line is drawn. */
  readonly #messages: string[] = [];
  readonly #over = Promise.withResolvers<void>();
  #list: Promise<unknown> | undefined;
  /** Cancelled work may still report after the last line is drawn. */
  #finished = false;
  #timer: NodeJS.Timeout | undefined;

  task(kind: TaskKind, title: string): Task {
    const phase = this.#phases.of(kind);
    const piece = phase.begin(title, performance.now());
    if (!this.#finished) this.#list ??= this.#start();
    this.#refresh(phase);
    const end = (counts: boolean, note?: string): void => {
      phase.end(piece, performance.now(), counts, note);
      if (phase.running.size === 0) this.#refresh(phase);
    };
    return {
      progress: (done, total) => void Object.assign(piece, { done, total }),
      done: (note, cached) => end(!cached, note),
      fail: () => {
        phase.failed = true;
        end(false);
      },
    };
  }

  expect(kind: TaskKind, count: number, size: number): void {
    this.#phases.of(kind).expect(count, size);
  }

  warn(message: string): void {
    this.info(warning(message));
  }

  /** Printed at once while no line is drawn, else after the last one. */
  info(message: string): void {
    if (this.#list) this.#messages.push(message);
    else print(message);
  }

  async finish(): Promise<void> {
    clearInterval(this.#timer);
    for (const phase of this.#phases.all())
      for (const piece of [...phase.running]) {
        phase.failed = true; // interrupted
        phase.end(piece, performance.now(), false);
      }
    // The first lines may not have been drawn yet; listr2 begins in later turns of the event loop.
    if (this.#list && this.#rows.size === 0) await new Promise((resolve) => setTimeout(resolve, 50));
    this.#refreshAll();
    this.#finished = true;
    this.#over.resolve();
    await this.#list;
    for (const message of this.#messages.splice(0)) print(message);
  }

  #start(): Promise<unknown> {
    this.#timer = setInterval(() => this.#refreshAll(), refreshEvery).unref();
    return drawRows(kinds.length, this.#over.promise, (row, index) => this.#rows.set(kinds[index]!, row));
  }

  #refreshAll(): void {
    for (const phase of this.#phases.all()) this.#refresh(phase);
  }

  /** The state of a line follows its phase, which may pause and go on. */
  #refresh(phase: Phase): void {
    const row = this.#rows.get(phase.kind);
    if (!row || !phase.begun || this.#finished) return;
    row.title = title(phase, performance.now());
    const busy = phase.running.size > 0;
    const state = busy ? ListrTaskState.STARTED : phase.failed ? ListrTaskState.FAILED : ListrTaskState.COMPLETED;
    if (row.state !== state) row.state$ = state;
  }
}

function title(phase: Phase, now: number): string {
  const { doing, did } = words[phase.kind];
  const atWork = phase.atWork(now);
  const busy = phase.running.size > 0;
  if (!busy && !phase.failed) return `${did.padEnd(16)}${phase.summary()}`;
  const details = busy && atWork ? `\n${styleText('dim', atWork, { stream: process.stderr })}` : '';
  return `${doing.padEnd(16)}${phase.progress(now)}${details}`;
}
