/**
 * Progress as plain lines, for logs. Small files are summed up so that a CI log stays readable, and a long step reports
 * every 30 seconds, because CI systems stop jobs that print nothing for minutes.
 */
import type { Task, TaskKind } from '../../host/progress.ts';
import { bytes, seconds } from './format.ts';
import { Phases, type Piece, words } from './phases.ts';
import { print, warn } from './stderr.ts';

/** Bytes; smaller files are summed up. */
const small = 5_000_000;
/** Milliseconds between two reports of a long step. */
const heartbeat = 30_000;

export class PlainProgress {
  readonly #phases = new Phases();
  readonly #small = new Map<TaskKind, { count: number; size: number }>();
  readonly #timer = setInterval(() => this.#report(), heartbeat).unref();

  readonly warn = warn;
  readonly info = print;

  task(kind: TaskKind, title: string): Task {
    const phase = this.#phases.of(kind);
    const piece = phase.begin(title, performance.now());
    if (kind === 'write' || kind === 'output') this.#printSmall();
    return {
      progress: (done, total) => void Object.assign(piece, { done, total }),
      done: (note, cached = false) => {
        phase.end(piece, performance.now(), !cached, note);
        if (!cached && kind !== 'assemble') this.#done(kind, piece, note ?? title);
      },
      fail: () => phase.end(piece, performance.now(), false),
    };
  }

  expect(kind: TaskKind, count: number, size: number): void {
    this.#phases.of(kind).expect(count, size);
    if (count > 0) print(`${words[kind].doing} ${count} ${words[kind].things}, ${bytes(size)}`);
  }

  async finish(): Promise<void> {
    clearInterval(this.#timer);
    this.#printSmall();
  }

  #done(kind: TaskKind, piece: Piece, what: string): void {
    if (piece.done < small && (kind === 'fetch' || kind === 'unpack')) {
      const { count, size } = this.#small.get(kind) ?? { count: 0, size: 0 };
      this.#small.set(kind, { count: count + 1, size: size + piece.done });
      return;
    }
    const elapsed = performance.now() - piece.since;
    const rate = elapsed > 50 ? `, ${bytes((piece.done / elapsed) * 1000)}/s` : '';
    const size = piece.done > 0 ? `, ${bytes(piece.done)} in ${seconds(elapsed)}${rate}` : ` (${seconds(elapsed)})`;
    print(`${words[kind].did} ${what}${size}`);
  }

  #printSmall(): void {
    for (const [kind, { count, size }] of this.#small)
      print(`${words[kind].did} ${count} small ${words[kind].things}, ${bytes(size)}`);
    this.#small.clear();
  }

  #report(): void {
    const now = performance.now();
    for (const phase of this.#phases.all())
      if (phase.running.size > 0)
        print(`${words[phase.kind].doing}: ${[phase.progress(now), phase.atWork(now)].filter(Boolean).join('; ')}`);
  }
}
