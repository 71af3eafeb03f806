import { expect, test } from 'vitest';
import { silent } from '../../../src/host/progress.ts';
import { treemap } from '../../../src/ops/report/charts.ts';
import type { ReportData } from '../../../src/ops/report/data.ts';
import { reportPage } from '../../../src/ops/report/page.ts';
import { longestWait, type RecordedTask, record } from '../../../src/ops/report/record.ts';
import { squarify } from '../../../src/ops/report/treemap.ts';

const task = (title: string, start: number, end: number): RecordedTask => ({
  kind: 'fetch',
  title,
  start,
  end,
  bytes: 0,
});

test('a recording has what was done, with its bytes, and passes everything on', () => {
  let now = 100;
  const notes: string[] = [];
  const inner = { ...silent, info: (message: string) => void notes.push(message) };
  const { reporter, tasks } = record(inner, () => now);
  const first = reporter.task('fetch', 'a');
  now = 150;
  const known = reporter.task('write', 'b');
  known.done(undefined, true); // found done: no part of the timeline
  first.progress(7, 9);
  now = 180;
  first.done();
  reporter.task('write', 'c').fail();
  reporter.info('said');
  expect(tasks()).toEqual([{ kind: 'fetch', title: 'a', start: 0, end: 80, bytes: 7 }]);
  expect(notes).toEqual(['said']);
});

test('the chain of waiting goes back from the last end; tasks without length do not loop', () => {
  const tasks = [task('a', 0, 10), task('short', 0, 3), task('b', 10, 30), task('c', 31, 31), task('d', 31, 40)];
  expect(longestWait(tasks).map(({ title }) => title)).toEqual(['a', 'b', 'c', 'd']);
  expect(longestWait([])).toEqual([]);
});

test('a treemap fills its box with areas in proportion, nothing overlaps, nothing is outside', () => {
  const sizes = [600, 300, 200, 100, 60, 30, 10, 1, 1];
  const boxes = squarify(sizes, { x: 5, y: 7, width: 110, height: 52 });
  const total = sizes.reduce((sum, size) => sum + size, 0);
  for (const [i, box] of boxes.entries()) {
    expect(box.width * box.height).toBeCloseTo((sizes[i]! / total) * 110 * 52, 3);
    expect(box.x).toBeGreaterThanOrEqual(5 - 1e-6);
    expect(box.x + box.width).toBeLessThanOrEqual(115 + 1e-6);
    expect(box.y + box.height).toBeLessThanOrEqual(59 + 1e-6);
    for (const other of boxes.slice(i + 1)) {
      const across = Math.min(box.x + box.width, other.x + other.width) - Math.max(box.x, other.x);
      const down = Math.min(box.y + box.height, other.y + other.height) - Math.max(box.y, other.y);
      expect(Math.min(across, down)).toBeLessThan(1e-6);
    }
  }
  expect(squarify([], { x: 0, y: 0, width: 1, height: 1 })).toEqual([]);
});

test('names from an image cannot inject into the page, and the page makes no requests', () => {
  const evil = '<script>alert("x")</script>';
  const platform = {
    platform: evil,
    layers: [{ name: evil, steps: [evil], blobSize: 1, parts: [{ name: evil, size: 5 }] }],
    components: [[evil, evil]] as const,
    packages: [{ name: evil, version: evil, size: 1, licences: [evil] }],
  };
  const data: ReportData = { title: evil, digest: evil, tasks: [task(evil, 0, 9)], platforms: [platform] };
  const page = reportPage(data);
  expect(page).not.toContain('<script');
  expect(page).not.toMatch(/https?:|src=|url\(|@import/);
  expect(page).toContain('prefers-color-scheme:dark');
  expect(treemap({ ...platform, layers: [] })).toContain('<svg');
});
