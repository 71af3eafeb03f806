/** Progress texts: sums, totals, rates and time left, with a simulated clock. */
import { describe, expect, test } from 'vitest';
import { seconds } from '../../../src/cli/terminal/format.ts';
import { Phase } from '../../../src/cli/terminal/phases.ts';

const MB = 1_000_000;

describe('a phase', () => {
  test('estimates what is left at the rate of the last seconds', () => {
    const phase = new Phase('fetch');
    phase.expect(2, 100 * MB);
    const piece = phase.begin('kubelet', 0);
    // A slow start long ago does not count.
    for (let t = 0; t <= 20_000; t += 500) {
      piece.done = t < 10_000 ? t * 100 : MB + (t - 10_000) * 2000;
      phase.progress(t);
    }
    expect(phase.progress(20_000)).toBe('21 MB of 100 MB, 2.0 MB/s, 40 s left');
  });

  test('a stall shows a rate of zero, not the average', () => {
    const phase = new Phase('fetch');
    phase.expect(1, 50 * MB);
    const piece = phase.begin('kubelet', 0);
    piece.done = 10 * MB;
    for (let t = 0; t <= 20_000; t += 500) phase.progress(t);
    expect(phase.progress(20_000)).toBe('10 MB of 50 MB, 0 B/s');
  });

  test('more than expected is not shown as "101 MB of 100 MB"', () => {
    const phase = new Phase('fetch');
    phase.expect(1, 10 * MB);
    const piece = phase.begin('kubelet', 0);
    piece.done = 12 * MB;
    expect(phase.progress(100)).toBe('12 MB');
  });

  test('work done before the total is known counts as done', () => {
    const phase = new Phase('fetch');
    const index = phase.begin('Packages', 0);
    index.done = 9 * MB;
    phase.end(index, 500, true);
    phase.expect(3, 91 * MB);
    expect(phase.progress(600)).toBe('9.0 MB of 100 MB');
  });

  test('names only the largest slow pieces', () => {
    const phase = new Phase('fetch');
    for (const [title, total, since] of [
      ['small', 10, 0],
      ['big', 100 * MB, 0],
      ['bigger', 200 * MB, 0],
      ['new', 300 * MB, 900],
    ] as const)
      phase.begin(title, since).total = total;
    for (const piece of phase.running) piece.done = piece.title === 'bigger' ? 50 * MB : 0;
    expect(phase.atWork(1000)).toBe('bigger 25% of 200 MB, big, small');
  });

  test('summarizes the busy time, and names a single piece', () => {
    const phase = new Phase('write');
    const first = phase.begin('base (linux/arm64)', 0);
    first.done = 10 * MB;
    phase.end(first, 1000, true);
    expect(phase.summary()).toBe('base (linux/arm64), 10 MB in 1.0 s, 10 MB/s');
    // An hour of rest in between.
    const second = phase.begin('node (linux/arm64)', 3_600_000);
    second.done = 30 * MB;
    phase.end(second, 3_601_000, true);
    const known = phase.begin('system (linux/arm64)', 3_601_000);
    phase.end(known, 3_601_000, false);
    expect(phase.summary()).toBe('2 layers, 40 MB in 2.0 s, 20 MB/s');
  });
});

test.each([
  [0, '0.0 s'],
  [8_440, '8.4 s'],
  [99_400, '99.4 s'],
  [99_600, '1 min 40 s'],
  [135_500, '2 min 16 s'],
])('%d ms', (ms, text) => expect(seconds(ms)).toBe(text));
