/** Exec and attach over WebSocket, with the client of the `ws` library. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { WebSocket } from 'ws';
import type { ExecStream } from '../../../src/cri/streaming/backend.ts';
import { type StreamingServer, startStreaming } from '../../../src/cri/streaming/server.ts';
import { upgrade } from '../../support/spdy-client.ts';
import { type HostBackend, hostBackend } from '../../support/streaming.ts';
import { webSocketHeaders } from '../../support/websocket-tunnel.ts';

let backend: HostBackend;
let server: StreamingServer;

beforeEach(async () => {
  backend = hostBackend();
  server = await startStreaming(backend, { address: '127.0.0.1', port: 0 });
});
afterEach(() => server.close());

const v5 = 'v5.channel.k8s.io';

interface Client {
  readonly socket: WebSocket;
  /** Message by message: channel, and bytes or only their number. */
  readonly messages: { channel: number; data: Buffer }[];
  readonly closed: Promise<number>;
}

async function connect(request: Partial<ExecStream>, protocol = v5, options: object = {}): Promise<Client> {
  const url = server.exec({
    containerId: 'c',
    cmd: [],
    tty: false,
    stdin: false,
    stdout: true,
    stderr: !request.tty,
    ...request,
  });
  const socket = new WebSocket(url, protocol, options);
  const messages: Client['messages'] = [];
  socket.on('message', (bytes: Buffer) => messages.push({ channel: bytes[0]!, data: bytes.subarray(1) }));
  const closed = once(socket, 'close').then(([code]) => code);
  await once(socket, 'open');
  return { socket, messages, closed };
}

const sh = (script: string) => ['sh', '-c', script];
const send = ({ socket }: Client, channel: number, data: string | Buffer) =>
  new Promise((done) => socket.send(Buffer.concat([Buffer.of(channel), Buffer.from(data)]), done));
const whole = ({ messages }: Client, channel: number) =>
  Buffer.concat(messages.filter((m) => m.channel === channel).map((m) => m.data));

describe('v5.channel.k8s.io', () => {
  test('output, then the status, then the end with code 1000', async () => {
    const client = await connect({ cmd: sh('echo out; echo err >&2; exit 7') });
    expect(await client.closed).toBe(1000);
    expect(whole(client, 1).toString()).toBe('out\n');
    expect(whole(client, 2).toString()).toBe('err\n');
    expect(client.messages.at(-1)?.channel).toBe(3);
    expect(JSON.parse(whole(client, 3).toString())).toMatchObject({ reason: 'NonZeroExitCode' });
  });

  test('input ends when its channel is closed, not before', async () => {
    const client = await connect({ cmd: ['cat'], stdin: true });
    const input = randomBytes(3_200_000);
    for (let at = 0; at < input.length; at += 30_000) await send(client, 0, input.subarray(at, at + 30_000));
    await send(client, 255, Buffer.of(4)); // another channel's end
    await send(client, 255, Buffer.of(0));
    expect(await client.closed).toBe(1000);
    expect(whole(client, 1).equals(input)).toBe(true);
    expect(whole(client, 3).toString()).toBe('{"metadata":{},"status":"Success"}');
  });

  test('sizes of a terminal arrive', async () => {
    const client = await connect({ cmd: ['sleep', '0.3'], tty: true });
    await send(client, 4, '{"Width":80,"Height":24}');
    expect(await client.closed).toBe(1000);
    expect(backend.sizes).toEqual([{ width: 80, height: 24 }]);
  });

  test('50 MiB wait for a reader that stops, and all arrive, also after the process has ended', async () => {
    const client = await connect({ cmd: ['head', '-c', String(50 << 20), '/dev/zero'] });
    client.socket.pause();
    await sleep(100);
    const before = process.memoryUsage().arrayBuffers;
    await sleep(400);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 << 20);
    client.socket.resume();
    expect(await client.closed).toBe(1000);
    expect(whole(client, 1).length).toBe(50 << 20);
  });

  test('a process that does not read is not waited for, nor is its client stuck', async () => {
    const client = await connect({ cmd: sh('sleep 0.3; exit 3'), stdin: true });
    const sending = Promise.all(Array.from({ length: 300 }, () => send(client, 0, Buffer.alloc(32_000))));
    expect(await client.closed).toBe(1000);
    expect(whole(client, 3).toString()).toContain('"message":"3"');
    await sending;
  });

  test('a client that is held up hears pongs all the same: it would give up after a minute', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    try {
      const client = await connect({ cmd: ['sleep', '60'], stdin: true });
      let pongs = 0;
      client.socket.on('pong', () => pongs++);
      while (client.socket.bufferedAmount === 0) {
        client.socket.send(Buffer.alloc(32_000));
        await sleep(1);
      }
      client.socket.ping();
      await sleep(50);
      expect(pongs).toBe(0);
      vi.advanceTimersByTime(15_000);
      await vi.waitFor(() => expect(pongs).toBe(3));
      client.socket.terminate();
      await vi.waitFor(() => {
        vi.advanceTimersByTime(5000); // nothing is read: only a write notices that the client is gone
        expect(backend.gone).toBe(1);
      });
    } finally {
      vi.useRealTimers();
    }
  });

  test('the process hears when its client is gone', async () => {
    const client = await connect({ cmd: ['sleep', '60'] });
    client.socket.terminate();
    await vi.waitFor(() => expect(backend.gone).toBe(1));
  });

  test('a message larger than any client sends ends the connection', async () => {
    const client = await connect({ cmd: ['cat'], stdin: true });
    client.socket.on('error', () => {});
    client.socket.send(Buffer.alloc((4 << 20) + 1));
    expect(await client.closed).toBe(1009);
    await vi.waitFor(() => expect(backend.gone).toBe(1));
  });

  test('a connection on which nothing moves is closed after the idle time', async () => {
    await server.close();
    server = await startStreaming(backend, { address: '127.0.0.1', port: 0, idleTimeout: 200 });
    const client = await connect({ cmd: ['sleep', '60'] });
    await client.closed;
    await vi.waitFor(() => expect(backend.gone).toBe(1));
  });
});

test('v4.channel.k8s.io is the same without the end of a channel', async () => {
  const client = await connect({ cmd: ['head', '-c', '3'], stdin: true }, 'v4.channel.k8s.io');
  await send(client, 255, Buffer.of(0));
  await send(client, 0, 'abc');
  expect(await client.closed).toBe(1000);
  expect(whole(client, 1).toString()).toBe('abc');
});

test('other protocols are refused with 403, and requests that are not WebSockets with 400', async () => {
  const url = () => server.attach({ containerId: 'c', tty: false, stdin: true, stdout: true, stderr: true });
  for (const name of ['channel.k8s.io', 'v3.channel.k8s.io', 'base64.channel.k8s.io', 'SPDY/3.1+portforward.k8s.io']) {
    const { response } = await upgrade(url(), webSocketHeaders(name), 'GET');
    expect(response.statusCode).toBe(403);
    expect(response.headers['x-accepted-stream-protocol-versions']).toBe('v5.channel.k8s.io, v4.channel.k8s.io');
  }
  const { 'sec-websocket-protocol': _, ...unnamed } = webSocketHeaders(v5);
  expect((await upgrade(url(), unnamed, 'GET')).response.statusCode).toBe(403);
  const keyless = { ...webSocketHeaders(v5), 'sec-websocket-key': 'x' };
  expect((await upgrade(url(), keyless, 'GET')).response.statusCode).toBe(400);
});
