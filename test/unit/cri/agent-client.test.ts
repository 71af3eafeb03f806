/** The client's end of the protocol, against a server that speaks it frame by frame. */
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer, text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { AgentClient } from '../../../src/cri/agent/client.ts';
import {
  type AgentFrame,
  AgentFrameReader,
  encodeControl,
  encodeData,
  encodeFrame,
} from '../../../src/cri/agent/frames.ts';
import { channel, dataFrame, maximumFrame } from '../../../src/cri/agent/protocol.ts';

describe('frames', () => {
  test('are the same however the stream is torn apart', () => {
    const sent = Buffer.concat([
      encodeControl({ op: 'hello' }),
      encodeFrame(channel.stdin, Buffer.alloc(0)),
      encodeFrame(channel.stdout, Buffer.alloc(70_000, 7)),
    ]);
    for (const size of [1, 3, 5, 4096, sent.length]) {
      const reader = new AgentFrameReader();
      const got: [number, number][] = [];
      for (let at = 0; at < sent.length; at += size)
        for (const frame of reader.push(sent.subarray(at, at + size))) got.push([frame.channel, frame.payload.length]);
      expect(got).toEqual([
        [0, 14],
        [1, 0],
        [2, 70_000],
      ]);
    }
  });

  test('longer than the protocol allows end the conversation before they are stored', () => {
    const header = Buffer.from([0xff, 0xff, 0xff, 0xff, 0]);
    expect(() => [...new AgentFrameReader().push(header)]).toThrow('4294967295 bytes');
    expect(() => encodeFrame(0, Buffer.alloc(maximumFrame + 1))).toThrow('longer than');
  });

  test('of data are small, so that streams share the connection, and never empty by accident', () => {
    expect(encodeData(2, Buffer.alloc(dataFrame + 1)).map((f) => f.length)).toEqual([dataFrame + 5, 6]);
    expect(encodeData(2, Buffer.alloc(0))).toEqual([]);
  });
});

describe('client', () => {
  let folder: string;
  let server: Server;
  let client: AgentClient;
  let answer: (socket: Socket, request: Record<string, unknown>, frames: AsyncGenerator<AgentFrame>) => Promise<void>;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kina-agent-'));
    server = createServer({ allowHalfOpen: true }, async (socket) => {
      socket.on('error', () => {});
      const frames = framesOf(socket);
      const { value } = await frames.next();
      await answer(socket, JSON.parse(value.payload.toString()), frames).catch(() => {});
    });
    server.listen(join(folder, 's'));
    await once(server, 'listening');
    client = new AgentClient(join(folder, 's'));
  });
  afterEach(async () => {
    server.close();
    await rm(folder, { recursive: true });
  });

  test('a call sends its operation and gets the reply', async () => {
    let asked: unknown;
    answer = async (socket, request) => {
      asked = request;
      socket.end(encodeControl({ pid: 42 }));
    };
    expect(await client.call('start', { id: 'c' })).toEqual({ pid: 42 });
    expect(asked).toEqual({ op: 'start', id: 'c' });
  });

  test('a failure keeps its word, a lost connection has another', async () => {
    answer = async (socket) => void socket.end(encodeControl({ error: { code: 'not-found', message: 'no c' } }));
    await expect(client.call('start', { id: 'c' })).rejects.toMatchObject({ failure: 'not-found', message: 'no c' });
    answer = async (socket) => void socket.end();
    await expect(client.call('start', { id: 'c' })).rejects.toMatchObject({ failure: 'unreachable' });
    await expect(new AgentClient(join(folder, 'none')).call('list', {})).rejects.toMatchObject({
      failure: 'unreachable',
    });
  });

  test('an agent that does not answer ends with the timeout, or with the reason of the abort', async () => {
    answer = async () => {};
    await expect(client.call('list', {}, { timeout: 30 })).rejects.toMatchObject({ failure: 'timeout' });
    await expect(client.call('list', {}, { signal: AbortSignal.timeout(30) })).rejects.toThrow(
      'aborted due to timeout',
    );
  });

  test('output is whole although one reader is slow, and the connection waits for it', async () => {
    const total = 20 << 20;
    let sent = 0;
    answer = async (socket) => {
      socket.write(encodeControl({ started: true }));
      const piece = encodeFrame(channel.stdout, Buffer.alloc(dataFrame, 65));
      for (; sent < total; sent += dataFrame) if (!socket.write(piece)) await once(socket, 'drain');
      socket.write(encodeFrame(channel.stdout, Buffer.alloc(0)));
      socket.end(encodeControl({ exitCode: 3 }));
    };
    const process = await client.exec({ id: 'c', process: {}, stdin: false, timeout: 0 });
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(sent).toBeLessThan(4 << 20);
    expect((await buffer(process.stdout)).length).toBe(total);
    expect(await process.finished).toEqual({ exitCode: 3 });
    expect(await text(process.stderr)).toBe('');
  });

  test('input arrives in order and its end is a frame of its own', async () => {
    answer = async (socket, _request, frames) => {
      socket.write(encodeControl({ started: true }));
      socket.write(encodeFrame(channel.stdout, await input(frames)));
      socket.end(encodeControl({ exitCode: 0 }));
    };
    const process = await client.exec({ id: 'c', process: {}, stdin: true, timeout: 0 });
    process.stdin?.end(Buffer.alloc(100_000, 'x'));
    expect(await text(process.stdout)).toBe('x'.repeat(100_000));
  });

  test('a process that fails after its start ends its streams and says why', async () => {
    answer = async (socket) => {
      socket.write(encodeControl({ started: true }));
      socket.write(encodeFrame(channel.stdout, Buffer.from('partly')));
      socket.end(encodeControl({ error: { code: 'timeout', message: 'took longer than 1 s' } }));
    };
    const process = await client.exec({ id: 'c', process: {}, stdin: false, timeout: 1000 });
    expect(await text(process.stdout)).toBe('partly');
    await expect(process.finished).rejects.toMatchObject({ failure: 'timeout' });
  });

  test('a sandbox that vanishes is an error for its readers, and only for them', async () => {
    answer = async (socket) => {
      socket.write(encodeControl({ started: true }));
      socket.write(encodeFrame(channel.stdout, Buffer.from('partly')));
      setTimeout(() => socket.destroy(), 20);
    };
    const process = await client.exec({ id: 'c', process: {}, stdin: true, timeout: 0 });
    await expect(text(process.stdout)).rejects.toMatchObject({ failure: 'unreachable' });
    await expect(process.finished).rejects.toMatchObject({ failure: 'unreachable' });
  });

  test('forward half-closes in both directions', async () => {
    let heard = '';
    answer = async (socket, _request, frames) => {
      socket.write(encodeControl({ started: true }));
      socket.write(encodeFrame(channel.stdout, Buffer.from('bye')));
      socket.write(encodeFrame(channel.stdout, Buffer.alloc(0)));
      heard = (await input(frames)).toString();
      socket.end(encodeControl({}));
    };
    const tunnel = await client.forward(80);
    expect(await text(tunnel)).toBe('bye');
    expect(tunnel.writable).toBe(true);
    tunnel.end('late words');
    await once(tunnel, 'close');
    await vi.waitFor(() => expect(heard).not.toBe(''));
    expect(heard).toBe('late words');
  });

  test('events end quietly with the signal and loudly with the sandbox', async () => {
    answer = async (socket) => {
      socket.write(encodeControl({ containers: [] }));
      socket.write(encodeControl({ deleted: 'c' }));
    };
    const stop = new AbortController();
    const seen: unknown[] = [];
    await client.events((event) => {
      seen.push(event);
      if (event.deleted) stop.abort();
    }, stop.signal);
    expect(seen).toEqual([{ containers: [] }, { deleted: 'c' }]);
    answer = async (socket) => void socket.destroy();
    await expect(client.events(() => {}, new AbortController().signal)).rejects.toMatchObject({
      failure: 'unreachable',
    });
  });
});

async function* framesOf(socket: Socket): AsyncGenerator<AgentFrame> {
  const reader = new AgentFrameReader();
  for await (const chunk of socket) yield* reader.push(chunk);
}

/** What came on the input until its end; the connection stays open. */
async function input(frames: AsyncGenerator<AgentFrame>): Promise<Buffer> {
  const got: Buffer[] = [];
  for (;;) {
    const { value } = await frames.next();
    if (value.channel !== channel.stdin) continue;
    if (value.payload.length === 0) return Buffer.concat(got);
    got.push(value.payload);
  }
}
