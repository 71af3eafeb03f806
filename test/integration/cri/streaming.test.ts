/** Exec and attach over SPDY, and how requests are refused: the whole server, host processes behind it. */
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { ExecStream } from '../../../src/cri/streaming/backend.ts';
import { type StreamingServer, startStreaming } from '../../../src/cri/streaming/server.ts';
import { SpdyClient, upgrade } from '../../support/spdy-client.ts';
import { type HostBackend, hostBackend } from '../../support/streaming.ts';

let backend: HostBackend;
let server: StreamingServer;

beforeEach(async () => {
  backend = hostBackend();
  server = await startStreaming(backend, { address: '127.0.0.1', port: 0 });
});
afterEach(() => server.close());

const request = (cmd: string[], more: Partial<ExecStream> = {}): ExecStream => ({
  containerId: 'c',
  cmd,
  tty: false,
  stdin: false,
  stdout: true,
  stderr: true,
  ...more,
});
const sh = (script: string, more: Partial<ExecStream> = {}) => request(['sh', '-c', script], more);

interface Running {
  readonly client: SpdyClient;
  readonly ids: Record<string, number>;
}

/** Connects and opens everything that the request has. */
async function start(wanted: ExecStream): Promise<Running> {
  const client = await SpdyClient.connect(server.exec(wanted));
  const names = (['stdin', 'stdout', 'stderr'] as const).filter((name) => wanted[name]);
  return { client, ids: await client.channels(['error', ...names, ...(wanted.tty ? ['resize'] : [])]) };
}

async function statusOf({ client, ids }: Running): Promise<object> {
  return JSON.parse((await client.whole(ids.error)).toString());
}

const success = { metadata: {}, status: 'Success' };
const failure = (code: number) => ({ reason: 'NonZeroExitCode', details: { causes: [{ message: String(code) }] } });

describe('a command', () => {
  test('ends in the order that clients need: output, status, then the ends; the connection stays', async () => {
    const run = await start(sh('echo out; echo err >&2; exit 7'));
    expect(await statusOf(run)).toMatchObject(failure(7));
    for (const name of ['stdout', 'stderr']) await run.client.whole(run.ids[name]);
    const order = run.client.frames.filter(({ type }) => type !== 'reply').map((f) => [f.stream, f.type]);
    const { error, stdout, stderr } = run.ids;
    expect(order.slice(0, 2).sort()).toEqual([
      [stdout, 'data'],
      [stderr, 'data'],
    ]);
    expect(order[2]).toEqual([error, 'data']);
    expect(order.slice(3).every(([, type]) => type === 'fin')).toBe(true);
    await sleep(200);
    expect(run.client.socket.destroyed).toBe(false);
    for (const id of Object.values(run.ids)) run.client.reset(id);
    run.client.control(7, 0, 0);
    await run.client.closed();
  });

  test('reads its input to the end, byte for byte, and ends with it', async () => {
    const input = randomBytes(3_200_000);
    const run = await start(request(['cat'], { stdin: true, stderr: false }));
    await run.client.send(run.ids.stdin, input.subarray(0, 3_000_000));
    await run.client.send(run.ids.stdin, input.subarray(3_000_000), true);
    expect((await run.client.whole(run.ids.stdout)).equals(input)).toBe(true);
    expect(await statusOf(run)).toEqual(success);
    run.client.close();
  });

  test('that does not read its input is not waited for, nor is its client stuck', async () => {
    const run = await start(sh('sleep 0.3; exit 3', { stdin: true }));
    const sending = (async () => {
      for (let sent = 0; sent < 20; sent++) await run.client.send(run.ids.stdin, Buffer.alloc(1 << 20));
    })();
    expect(await statusOf(run)).toMatchObject(failure(3));
    await sending;
    run.client.close();
  });

  test('gives 50 MiB to a reader that stops for a while; nothing piles up meanwhile', async () => {
    const size = 50 << 20;
    const run = await start(request(['head', '-c', String(size), '/dev/zero'], { stderr: false }));
    const hash = createHash('sha256');
    let got = 0;
    run.client.onData = (stream, data) => {
      if (stream !== run.ids.stdout) return;
      hash.update(data);
      got += data.length;
    };
    run.client.socket.pause();
    await sleep(100);
    const before = process.memoryUsage().arrayBuffers;
    await sleep(400);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 << 20);
    run.client.socket.resume();
    await run.client.find((f) => f.stream === run.ids.stdout && f.type === 'fin');
    expect(got).toBe(size);
    expect(hash.digest('hex')).toBe(createHash('sha256').update(Buffer.alloc(size)).digest('hex'));
    run.client.close();
  });

  test('with a terminal is told its sizes', async () => {
    const run = await start(sh('sleep 0.5', { tty: true, stderr: false }));
    await run.client.send(run.ids.resize, '{"Width":80,"Height":24}\n{"Wid');
    await vi.waitFor(() => expect(backend.sizes).toHaveLength(1));
    await run.client.send(run.ids.resize, 'th":132,"Height":43}\n');
    expect(await statusOf(run)).toEqual(success);
    expect(backend.sizes).toEqual([
      { width: 80, height: 24 },
      { width: 132, height: 43 },
    ]);
    run.client.close();
  });

  test('that cannot be started says why', async () => {
    backend.exec = () => Promise.reject(new Error('no such container'));
    const run = await start(sh('true'));
    expect(await statusOf(run)).toMatchObject({ status: 'Failure', message: 'no such container' });
    run.client.close();
  });

  test('is told when its client is gone', async () => {
    const run = await start(request(['sleep', '60']));
    run.client.close();
    await vi.waitFor(() => expect(backend.gone).toBe(1));
  });

  test('is told too when its client takes its streams back and says goodbye', async () => {
    const run = await start(request(['sleep', '60']));
    for (const id of Object.values(run.ids)) run.client.reset(id);
    run.client.control(7, 0, 0);
    await vi.waitFor(() => expect(backend.gone).toBe(1));
  });

  test('attach: the end of input ends the shell, whose answer arrives', async () => {
    const client = await SpdyClient.connect(server.attach(request([], { stdin: true })));
    const ids = await client.channels(['error', 'stdin', 'stdout', 'stderr']);
    await client.send(ids.stdin, 'echo answer $((6*7))\n', true);
    expect((await client.whole(ids.stdout)).toString()).toBe('answer 42\n');
    expect(JSON.parse((await client.whole(ids.error)).toString())).toEqual(success);
    client.close();
  });
});

describe('a connection', () => {
  test('refuses streams that were not asked for, and those that come twice', async () => {
    const client = await SpdyClient.connect(server.exec(request(['true'], { stderr: false })));
    await client.channels(['error']);
    for (const type of ['stdin', 'stderr', 'resize', 'error', 'other'])
      await expect(client.open({ streamtype: type })).rejects.toThrow('refused with status 3');
    const stdout = await client.open({ streamtype: 'stdout' });
    await client.whole(stdout);
    client.close();
  });

  test('answers pings of the client, and only those', async () => {
    const { client } = await start(request(['sleep', '60']));
    client.control(6, 2);
    client.control(6, 7);
    await client.find((f) => f.type === 'ping');
    expect(client.frames.filter((f) => f.type === 'ping').map((f) => f.stream)).toEqual([7]);
    client.close();
  });

  test.each<[string, (client: SpdyClient) => void]>([
    ['speaks no SPDY', ({ socket }) => socket.write(Buffer.from('80020001000000ff', 'hex'))],
    ['sends data on a stream that it never opened', (client) => void client.send(99, 'x')],
    ['opens a stream with an even number', ({ socket }) => socket.write(openFrame(2))],
    ['opens a stream that was there before', ({ socket }) => socket.write(openFrame(1))],
    ['sends a block that is not zlib', ({ socket }) => socket.write(openFrame(9, Buffer.alloc(40, 1)))],
    ['cuts a control frame short', ({ socket }) => socket.write(Buffer.from('800300030000000200ff', 'hex'))],
  ])('that %s is closed, with a word', async (_what, misbehave) => {
    const { client } = await start(request(['sleep', '60']));
    misbehave(client);
    expect((await client.find((f) => f.type === 'goaway')).data.readUInt32BE(4)).toBe(1);
    await client.closed();
    await vi.waitFor(() => expect(backend.gone).toBe(1));
  });

  test('that is held up by a process notices all the same that its client is gone', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    try {
      const { client, ids } = await start(request(['sleep', '60'], { stdin: true }));
      while (client.socket.writableLength === 0) {
        void client.send(ids.stdin, Buffer.alloc(1 << 20)).catch(() => {});
        await sleep(5);
      }
      vi.advanceTimersByTime(10_000);
      expect((await client.find((f) => f.type === 'ping')).stream % 2).toBe(0);
      client.close();
      await vi.waitFor(() => {
        vi.advanceTimersByTime(10_000); // nothing is read: only a write notices
        expect(backend.gone).toBe(1);
      });
    } finally {
      vi.useRealTimers();
    }
  });

  test('that asks without listening is closed before the answers fill the memory', async () => {
    const { client } = await start(request(['sleep', '60']));
    client.socket.pause();
    const ping = Buffer.from('800300060000000400000001', 'hex');
    const flood = Buffer.concat(Array(20_000).fill(ping));
    while (!client.socket.destroyed && backend.gone === 0) {
      client.socket.write(flood);
      await sleep(1);
    }
    expect(backend.gone).toBe(1);
    client.close();
  });

  test('on which nothing moves is closed after the idle time; one that moves is not', async () => {
    await server.close();
    server = await startStreaming(backend, { address: '127.0.0.1', port: 0, idleTimeout: 1500 });
    const quiet = await start(request(['sleep', '60']));
    const busy = await start(sh('for i in 1 2 3 4 5 6; do sleep 0.4; echo $i; done'));
    await quiet.client.closed();
    expect(quiet.client.frames.at(-1)?.type).toBe('goaway');
    expect((await busy.client.whole(busy.ids.stdout)).toString()).toBe('1\n2\n3\n4\n5\n6\n');
    expect(backend.gone).toBe(1);
    busy.client.close();
  });

  test('ends with the server', async () => {
    const { client } = await start(request(['sleep', '60']));
    await server.close();
    await client.closed();
    await vi.waitFor(() => expect(backend.gone).toBe(1));
  });
});

/** A SYN_STREAM whose header block reads as none. */
function openFrame(id: number, block: Buffer = Buffer.alloc(0)): Buffer {
  const frame = Buffer.alloc(18 + block.length);
  frame.writeUInt32BE(0x80030001);
  frame.writeUInt32BE(10 + block.length, 4);
  frame.writeUInt32BE(id, 8);
  frame.set(block, 18);
  return frame;
}

describe('a request', () => {
  const spdy = { connection: 'Upgrade', upgrade: 'SPDY/3.1', 'x-stream-protocol-version': 'v4.channel.k8s.io' };
  const status = async (url: string, headers: Record<string, string | string[]>, method?: string) => {
    const { response, socket } = await upgrade(url, headers, method);
    socket?.destroy();
    return response.statusCode;
  };

  test('needs no parameters: the address is absolute, with a token and nothing else', () => {
    expect(server.exec(sh('secret'))).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/exec\/[\w-]{24}$/);
    expect(server.attach(sh(''))).toContain('/attach/');
    expect(server.portForward({ podSandboxId: 's' })).toContain('/portforward/');
  });

  test('is good once, and only for what it was made for', async () => {
    const url = server.exec(sh('true'));
    expect(await status(url, spdy)).toBe(101);
    expect(await status(url, spdy)).toBe(404);
    expect(await status(server.exec(sh('true')).replace('exec', 'attach'), spdy)).toBe(404);
    for (const path of ['/', '/exec/', '/exec/unknown', '/exec/a/b', '/exec/%2e%2e', '/EXEC/x'])
      expect(await status(server.url + path, spdy)).toBe(404);
  });

  test('may be a GET, as proxies make it, and may ask for more than its path', async () => {
    expect(await status(`${server.exec(sh('true'))}?x=y`, spdy, 'GET')).toBe(101);
    expect(await status(server.exec(sh('true')), spdy, 'PUT')).toBe(405);
  });

  test('that is not an upgrade, or not to SPDY, or names no protocol, is answered with 400', async () => {
    expect(await status(server.exec(sh('true')), {})).toBe(400);
    expect(await status(server.exec(sh('true')), { ...spdy, upgrade: 'h2c' })).toBe(400);
    expect(await status(server.exec(sh('true')), { connection: 'Upgrade', upgrade: 'SPDY/3.1' })).toBe(400);
    expect(await status(`${server.url}/exec/unknown`, {})).toBe(404);
  });

  test('that names protocols as a list or one by one is given the newest of ours', async () => {
    for (const named of [
      ['v5.channel.k8s.io, v4.channel.k8s.io,channel.k8s.io'],
      ['v5.channel.k8s.io', 'v4.channel.k8s.io'],
    ]) {
      const { response, socket } = await upgrade(server.exec(sh('true')), {
        ...spdy,
        'x-stream-protocol-version': named,
      });
      expect(response.headers).toMatchObject({ upgrade: 'SPDY/3.1', 'x-stream-protocol-version': 'v4.channel.k8s.io' });
      socket?.destroy();
    }
  });

  test('that names only others is answered with 403 and what it could have named', async () => {
    const others = { ...spdy, 'x-stream-protocol-version': ['v3.channel.k8s.io', 'channel.k8s.io'] };
    const { response } = await upgrade(server.exec(sh('true')), others);
    expect(response.statusCode).toBe(403);
    expect(response.headers['x-accepted-stream-protocol-versions']).toBe('v4.channel.k8s.io');
    const forward = await upgrade(server.portForward({ podSandboxId: 's' }), spdy);
    expect(forward.response.statusCode).toBe(403);
    expect(forward.response.headers['x-accepted-stream-protocol-versions']).toBe('portforward.k8s.io');
  });

  test('that makes no sense is not an address', () => {
    const usage = expect.objectContaining({ code: 'usage' });
    expect(() => server.exec(sh('', { containerId: '' }))).toThrow(usage);
    expect(() => server.exec(sh('', { stdout: false, stderr: false }))).toThrow(usage);
    expect(() => server.attach(sh('', { tty: true, stderr: true }))).toThrow(usage);
    expect(() => server.portForward({ podSandboxId: '' })).toThrow(usage);
  });

  test('comes to an address that can be dialled', async () => {
    for (const address of ['0.0.0.0', '::', 'localhost', '192.0.2.1'])
      await expect(startStreaming(backend, { address, port: 0 })).rejects.toThrow(
        expect.objectContaining({ code: 'usage' }),
      );
    const taken = Number(new URL(server.url).port);
    await expect(startStreaming(backend, { address: '127.0.0.1', port: taken })).rejects.toThrow('EADDRINUSE');
    const other = await startStreaming(backend, { address: '::1', port: 0 });
    expect(other.exec(sh('true'))).toMatch(/^http:\/\/\[::1\]:\d+\/exec\//);
    await other.close();
  });
});
