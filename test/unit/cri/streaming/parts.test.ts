/** The small parts of the streaming server: tokens, terminal sizes, statuses. */
import { describe, expect, test } from 'vitest';
import type { TerminalSize } from '../../../../src/cri/streaming/backend.ts';
import { ResizeEvents } from '../../../../src/cri/streaming/resize.ts';
import { exitStatus, failureStatus } from '../../../../src/cri/streaming/status.ts';
import { Tokens } from '../../../../src/cri/streaming/tokens.ts';
import { KinaError } from '../../../../src/host/errors.ts';

describe('tokens', () => {
  test('are good once', () => {
    const tokens = new Tokens<string>();
    const token = tokens.issue('a');
    expect(tokens.take(token)).toBe('a');
    expect(tokens.take(token)).toBeUndefined();
  });

  test('differ, and can stand in a URL', () => {
    const tokens = new Tokens<number>();
    const all = new Set(Array.from({ length: 500 }, (_, index) => tokens.issue(index)));
    expect(all.size).toBe(500);
    for (const token of all) expect(token).toMatch(/^[\w-]{24}$/);
  });

  test('are forgotten after a minute, and room is made by that', () => {
    let now = 0;
    const tokens = new Tokens<number>({ outstanding: 2, lifetime: 60_000 }, () => now);
    const first = tokens.issue(1);
    now = 59_999;
    const second = tokens.issue(2);
    expect(() => tokens.issue(3)).toThrow('2 streaming requests wait');
    now = 60_000;
    expect(tokens.take(first)).toBeUndefined();
    tokens.issue(3);
    expect(tokens.take(second)).toBe(2);
  });

  test('a thousand can be out; the next caller is told what to do', () => {
    const tokens = new Tokens<number>();
    for (let index = 0; index < 1000; index++) tokens.issue(index);
    expect(() => tokens.issue(0)).toThrow(
      expect.objectContaining({ code: 'busy', hint: expect.stringContaining('60 s') }),
    );
  });
});

describe('terminal sizes', () => {
  const sizes = '{"Width":80,"Height":24}\n{"Width":132,"Height":43}\n';

  async function collect(events: ResizeEvents): Promise<TerminalSize[]> {
    const all: TerminalSize[] = [];
    for await (const size of events) all.push(size);
    return all;
  }

  test('are found however the JSON is cut, each when it is awaited', async () => {
    for (const step of [1, 5, 25, 26, 100]) {
      const events = new ResizeEvents();
      const collected = collect(events);
      for (let at = 0; at < sizes.length; at += step) {
        events.push(Buffer.from(sizes.slice(at, at + step)));
        await new Promise(setImmediate);
      }
      events.end();
      const expected = [
        { width: 80, height: 24 },
        { width: 132, height: 43 },
      ];
      expect(await collected).toEqual(step === 100 ? expected.slice(1) : expected);
    }
  });

  test('a busy reader is given the newest only', async () => {
    const events = new ResizeEvents();
    for (let width = 1; width <= 1000; width++) events.push(Buffer.from(JSON.stringify({ Width: width, Height: 1 })));
    events.end();
    expect(await collect(events)).toEqual([{ width: 1000, height: 1 }]);
  });

  test.each([
    '{"Width":-1,"Height":1}',
    '{"Width":65536,"Height":1}',
    '{"Width":1.5,"Height":1}',
    '{"Width":"80","Height":24}',
    'null}',
    `${'x'.repeat(2000)}`,
  ])('an invalid size ends them: %s', async (text) => {
    const events = new ResizeEvents();
    events.push(Buffer.from(text));
    events.push(Buffer.from('{"Width":80,"Height":24}'));
    expect(await collect(events)).toEqual([]);
  });
});

describe('statuses', () => {
  test('are those that clients look for', () => {
    expect(exitStatus(0)).toBe('{"metadata":{},"status":"Success"}');
    expect(JSON.parse(exitStatus(137))).toMatchObject({
      status: 'Failure',
      reason: 'NonZeroExitCode',
      details: { causes: [{ reason: 'ExitCode', message: '137' }] },
    });
  });

  test('of a call that failed tell what happened, with its details', () => {
    const error = new KinaError('provider', 'no such container', { details: ['c1', 'c2'] });
    expect(JSON.parse(failureStatus(error))).toMatchObject({ status: 'Failure', message: 'no such container: c1: c2' });
    expect(JSON.parse(failureStatus('odd'))).toMatchObject({ message: 'odd' });
  });
});
