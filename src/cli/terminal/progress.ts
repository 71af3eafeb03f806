/**
 * Progress on stderr. On a terminal a few live lines, one per phase that has begun (listr2); elsewhere plain lines, the
 * small things summed up so that a CI log stays readable, and a sign of life where a step takes long.
 */
import { styleText } from 'node:util';
import { ListrTaskState } from 'listr2';
import { type Reporter, silent, type TaskKind } from '../../host/progress.ts';
import { bytes, seconds } from './format.ts';
import { drawRows, type Row } from './live.ts';
import { kinds, Phase, type Piece, words } from './phases.ts';

export interface ProgressReporter extends Reporter {
  /** Ends the live lines; afterwards stderr may be written to freely. */
  finish(): Promise<void>;
}

/** `live`: draw on a terminal. `quiet`: warnings only. */
export function createReporter(options: { live: boolean; quiet: boolean }): ProgressReporter {
  const print = (line: string): void => void process.stderr.write(`${line}\n`);
  if (options.quiet) return quietReporter(print);
  return options.live ? liveReporter(print) : plainReporter(print);
}

function quietReporter(print: (line: string) => void): ProgressReporter {
  return { ...silent, warn: (message) => print(`warning: ${message}`), finish: async () => {} };
}

/** Files below this are summed up in plain output. */
const small = 5_000_000;
/** Milliseconds between signs of life in plain output: CI systems stop what is silent for minutes. */
const heartbeat = 30_000;

function plainReporter(print: (line: string) => void): ProgressReporter {
  const phases = new Map<TaskKind, Phase>();
  const smallOnes = new Map<TaskKind, { count: number; size: number }>();
  const flush = (): void => {
    for (const [kind, { count, size }] of smallOnes)
      print(`${words[kind].did} ${count} small ${words[kind].things}, ${bytes(size)}`);
    smallOnes.clear();
  };
  const beat = setInterval(() => {
    for (const phase of phases.values()) {
      if (phase.running.size === 0) continue;
      const now = performance.now();
      print(`${words[phase.kind].doing}: ${[phase.progress(now), phase.atWork(now)].filter(Boolean).join('; ')}`);
    }
  }, heartbeat).unref();
  return {
    task(kind, title) {
      const phase = phaseOf(phases, kind);
      const piece = phase.begin(title, performance.now());
      if (kind === 'write' || kind === 'output') flush();
      return {
        progress: (done, total) => void Object.assign(piece, { done, total }),
        done: (note, cached) => {
          const elapsed = performance.now() - piece.since;
          phase.end(piece, performance.now(), !cached, note);
          if (cached || kind === 'assemble') return;
          if (piece.done < small && (kind === 'fetch' || kind === 'unpack')) {
            const sum = smallOnes.get(kind) ?? { count: 0, size: 0 };
            smallOnes.set(kind, { count: sum.count + 1, size: sum.size + piece.done });
            return;
          }
          const rate = elapsed > 50 ? `, ${bytes((piece.done / elapsed) * 1000)}/s` : '';
          const how =
            piece.done > 0 ? `, ${bytes(piece.done)} in ${seconds(elapsed)}${rate}` : ` (${seconds(elapsed)})`;
          print(`${words[kind].did} ${note ?? title}${how}`);
        },
        fail: () => phase.end(piece, performance.now(), false),
      };
    },
    expect(kind, count, size) {
      phaseOf(phases, kind).expect(count, size);
      if (count > 0) print(`${words[kind].doing} ${count} ${words[kind].things}, ${bytes(size)}`);
    },
    warn: (message) => print(`warning: ${message}`),
    info: print,
    finish: async () => {
      clearInterval(beat);
      flush();
    },
  };
}

function phaseOf(phases: Map<TaskKind, Phase>, kind: TaskKind): Phase {
  const phase = phases.get(kind) ?? new Phase(kind);
  phases.set(kind, phase);
  return phase;
}

/** Milliseconds between new words on a line; the spinner turns on its own. */
const refreshEvery = 200;

function liveReporter(print: (line: string) => void): ProgressReporter {
  const phases = new Map<TaskKind, Phase>();
  const rows = new Map<TaskKind, Row>();
  const messages: string[] = [];
  const over = Promise.withResolvers<void>();
  let list: Promise<unknown> | undefined;
  /** What is cancelled may still report a while after the last line was drawn. */
  let finished = false;
  let timer: NodeJS.Timeout | undefined;

  // The state of a line follows its phase, which may rest and go on.
  const refresh = (kind: TaskKind, phase: Phase): void => {
    const row = rows.get(kind);
    if (!row || !phase.begun || finished) return;
    const now = performance.now();
    const { doing, did } = words[kind];
    const atWork = phase.atWork(now);
    const busy = phase.running.size > 0;
    row.title =
      busy || phase.failed
        ? `${doing.padEnd(16)}${phase.progress(now)}${busy && atWork ? `\n${styleText('dim', atWork, { stream: process.stderr })}` : ''}`
        : `${did.padEnd(16)}${phase.summary()}`;
    const state = busy ? ListrTaskState.STARTED : phase.failed ? ListrTaskState.FAILED : ListrTaskState.COMPLETED;
    if (row.state !== state) row.state$ = state;
  };
  const refreshAll = (): void => phases.forEach((phase, kind) => void refresh(kind, phase));

  const start = (): Promise<unknown> => {
    timer = setInterval(refreshAll, refreshEvery).unref();
    return drawRows(kinds.length, over.promise, (row, index) => rows.set(kinds[index]!, row));
  };

  return {
    task(kind, title) {
      const phase = phaseOf(phases, kind);
      const piece: Piece = phase.begin(title, performance.now());
      if (!finished) list ??= start();
      refresh(kind, phase);
      const end = (counts: boolean, note?: string): void => {
        phase.end(piece, performance.now(), counts, note);
        if (phase.running.size === 0) refresh(kind, phase);
      };
      return {
        progress: (done, total) => void Object.assign(piece, { done, total }),
        done: (note, cached) => end(!cached, note),
        fail: () => {
          phase.failed = true;
          end(false);
        },
      };
    },
    expect: (kind, count, size) => phaseOf(phases, kind).expect(count, size),
    warn: (message) => messages.push(`warning: ${message}`),
    info: (message) => messages.push(message),
    async finish() {
      clearInterval(timer);
      for (const phase of phases.values())
        for (const piece of [...phase.running]) {
          phase.failed = true; // what was under way when everything ended
          phase.end(piece, performance.now(), false);
        }
      // The first lines may not have been drawn yet; listr2 begins in later turns of the event loop.
      if (list && rows.size === 0) await new Promise((resolve) => setTimeout(resolve, 50));
      refreshAll();
      finished = true;
      over.resolve();
      await list;
      for (const message of messages.splice(0)) print(message);
    },
  };
}
