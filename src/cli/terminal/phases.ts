/**
 * The state of the progress and its texts: per phase (fetch, unpack, write …) what runs, what is done, how fast. The
 * reporters decide where and when they are printed.
 *
 * Rates are those of the last seconds, because an average hides a stall. Summaries count only the time in which the phase
 * had work.
 */
import type { TaskKind } from '../../host/progress.ts';
import { bytes, seconds } from './format.ts';

interface Words {
  readonly doing: string;
  readonly did: string;
  /** What is counted. */
  readonly things: string;
}
export const words: Readonly<Record<TaskKind, Words>> = {
  read: { doing: 'Resolving', did: 'Resolved', things: 'recipes' },
  compile: { doing: 'Compiling', did: 'Compiled', things: 'steps' },
  fetch: { doing: 'Fetching', did: 'Fetched', things: 'files' },
  unpack: { doing: 'Unpacking', did: 'Unpacked', things: 'archives' },
  assemble: { doing: 'Assembling', did: 'Assembled', things: 'platforms' },
  write: { doing: 'Writing layers', did: 'Wrote layers', things: 'layers' },
  compress: { doing: 'Compressing', did: 'Compressed', things: 'layers' },
  output: { doing: 'Writing output', did: 'Wrote output', things: 'outputs' },
  push: { doing: 'Pushing', did: 'Pushed', things: 'blobs' },
};
/** In the order of a build. */
export const kinds = Object.keys(words) as TaskKind[];

export interface Piece {
  readonly title: string;
  readonly since: number;
  done: number;
  total: number | undefined;
}

/** Milliseconds over which the current rate is measured. */
const rateWindow = 4000;
/** Milliseconds after which a piece is named; hundreds of small ones would flicker. */
const worthNaming = 400;

/** Times are milliseconds of a monotonic clock, passed by the caller. */
export class Phase {
  readonly kind: TaskKind;
  readonly running = new Set<Piece>();
  failed = false;
  #count = 0;
  #size = 0;
  #expected: { count: number; size: number } | undefined;
  #last: { title: string; note: string | undefined } | undefined;
  #busy = 0;
  #busySince = 0;
  #samples: { at: number; size: number }[] = [];

  constructor(kind: TaskKind) {
    this.kind = kind;
  }

  begin(title: string, now: number): Piece {
    if (this.running.size === 0) this.#busySince = now;
    const piece = { title, since: now, done: 0, total: undefined };
    this.running.add(piece);
    return piece;
  }

  /** `counts`: it did work, instead of finding it done. */
  end(piece: Piece, now: number, counts: boolean, note?: string): void {
    this.running.delete(piece);
    if (this.running.size === 0) this.#busy += now - this.#busySince;
    if (!counts) return;
    this.#count++;
    this.#size += piece.done;
    this.#last = { title: piece.title, note };
  }

  /** Announces more work, in addition to what is done. */
  expect(count: number, size: number): void {
    this.#expected = { count: this.#count + count, size: this.size + size };
  }

  /** Whether any work was done or tried. */
  get begun(): boolean {
    return this.#last !== undefined || this.running.size > 0 || this.failed;
  }

  get size(): number {
    let sum = this.#size;
    for (const piece of this.running) sum += piece.done;
    return sum;
  }

  /** `184 MB of 617 MB, 13 MB/s, 35 s left`, as far as known. Call it regularly: it takes the samples for the rate. */
  progress(now: number): string {
    const { size } = this;
    const total = this.#expected?.size ?? 0;
    const rate = this.#rate(size, now);
    const parts = [];
    if (size > 0) parts.push(total > size ? `${bytes(size)} of ${bytes(total)}` : bytes(size));
    if (size > 0 && rate !== undefined) parts.push(`${bytes(rate)}/s`);
    if (rate && total > size && now - this.#busySince > 3000)
      parts.push(`${seconds(((total - size) / rate) * 1000, 0)} left`);
    return parts.join(', ');
  }

  /** The largest pieces that are running. */
  atWork(now: number): string {
    return [...this.running]
      .filter((piece) => now - piece.since >= worthNaming)
      .sort((a, b) => (b.total ?? 0) - (a.total ?? 0))
      .slice(0, 3)
      .map(({ title, done, total }) => `${title}${done > 0 ? ` ${share(done, total)}` : ''}`)
      .join(', ');
  }

  /** `139 files, 617 MB in 51.3 s, 12 MB/s`; a single piece is named. */
  summary(): string {
    if (this.#last?.note !== undefined && this.#count === 1) return this.#last.note;
    const what = this.#count === 1 ? this.#last!.title : `${this.#count} ${words[this.kind].things}`;
    if (this.#size === 0) return what;
    const rate = this.#busy > 200 ? `, ${bytes((this.#size / this.#busy) * 1000)}/s` : '';
    return `${what}, ${bytes(this.#size)} in ${seconds(this.#busy)}${rate}`;
  }

  #rate(size: number, now: number): number | undefined {
    if (this.#samples.at(-1)?.at !== now) this.#samples.push({ at: now, size });
    while (this.#samples.length > 2 && this.#samples[1]!.at < now - rateWindow) this.#samples.shift();
    const first = this.#samples[0]!;
    return now - first.at < 500 ? undefined : ((size - first.size) / (now - first.at)) * 1000;
  }
}

function share(done: number, total: number | undefined): string {
  return total === undefined || total < done ? bytes(done) : `${Math.floor((done / total) * 100)}% of ${bytes(total)}`;
}

/** The phases of a command, each made when it begins. */
export class Phases {
  readonly #phases = new Map<TaskKind, Phase>();

  of(kind: TaskKind): Phase {
    const phase = this.#phases.get(kind) ?? new Phase(kind);
    this.#phases.set(kind, phase);
    return phase;
  }

  all(): Iterable<Phase> {
    return this.#phases.values();
  }
}
