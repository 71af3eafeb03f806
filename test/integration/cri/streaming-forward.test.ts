/** Port forwarding: pairs of streams become connections, through SPDY and through SPDY in WebSocket. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type StreamingServer, startStreaming } from '../../../src/cri/streaming/server.ts';
import { offered, SpdyClient, upgrade } from '../../support/spdy-client.ts';
import { type HostBackend, hostBackend } from '../../support/streaming.ts';
import { openTunnel, webSocketHeaders } from '../../support/websocket-tunnel.ts';

const big = randomBytes(1 << 20);

/** Says what a connection sends when it has half-closed; `big` to `GET`, a reset to `RST`. */
function answer(socket: Socket): void {
  open.add(socket);
  accepted++;
  socket.on('error', () => {});
  socket.once('close', () => open.delete(socket));
  socket.once('end', () => socket.end()); // after what was said on the way there
  socket.once('data', (first: Buffer) => {
    const word = first.toString();
    if (word === 'RST') socket.resetAndDestroy();
    else if (word === 'GET') socket.end(big);
    else {
      const all = [first];
      socket.on('data', (more: Buffer) => all.push(more));
      socket.prependOnceListener('end', () => socket.write(`heard ${Buffer.concat(all)}`));
    }
  });
}

const open = new Set<Socket>();
let accepted = 0;
let backend: HostBackend;
let remote: Server;
let port: number;
let server: StreamingServer;

beforeEach(async () => {
  accepted = 0;
  backend = hostBackend();
  server = await startStreaming(backend, { address: '127.0.0.1', port: 0 });
  remote = createServer({ allowHalfOpen: true }, answer).listen(0, '127.0.0.1');
  await once(remote, 'listening');
  port = (remote.address() as AddressInfo).port;
});
afterEach(async () => {
  await server.close();
  for (const socket of open) socket.destroy();
  remote.close();
});

let request = 0;

interface Pair {
  readonly error: number;
  readonly data: number;
}

/** Opens a pair as the Go client does: the error stream first, half-closed at once. */
async function pair(client: SpdyClient, to = port): Promise<Pair> {
  const headers = { port: String(to), requestid: String(request++) };
  const error = await client.open({ ...headers, streamtype: 'error' });
  await client.send(error, '', true);
  return { error, data: await client.open({ ...headers, streamtype: 'data' }) };
}

const ways: [string, () => Promise<SpdyClient>][] = [
  ['SPDY', () => SpdyClient.connect(server.portForward({ podSandboxId: 's' }), ['portforward.k8s.io'])],
  [
    'SPDY in large messages',
    async () => new SpdyClient(await openTunnel(server.portForward({ podSandboxId: 's' }), 1 << 20)),
  ],
  [
    'SPDY in messages of 5 bytes',
    async () => new SpdyClient(await openTunnel(server.portForward({ podSandboxId: 's' }), 5)),
  ],
];

describe.each(ways)('through %s', (_name, connect) => {
  test('many connections carry their own bytes at the same time', async () => {
    const client = await connect();
    const pairs: Pair[] = [];
    for (let index = 0; index < 20; index++) pairs.push(await pair(client));
    for (const { data } of pairs) await client.send(data, 'GET');
    for (const { data, error } of pairs) {
      expect((await client.whole(data)).equals(big)).toBe(true);
      expect((await client.whole(error)).length).toBe(0);
    }
    client.close();
  });

  test("the client's end of its bytes is passed on while the answer is still to come", async () => {
    const client = await connect();
    const { data, error } = await pair(client);
    await client.send(data, 'all there ', false);
    await client.send(data, 'is', true);
    expect((await client.whole(data)).toString()).toBe('heard all there is');
    await client.whole(error);
    client.close();
  });

  test('connections come and go without end: thousands in turn are no more than one', async () => {
    const client = await connect();
    for (let turn = 0; turn < 1100; turn++) {
      const { data } = await pair(client);
      await client.send(data, 'x', true);
      if (turn % 100 === 0) expect((await client.whole(data)).toString()).toBe('heard x');
      else await client.find((f) => f.stream === data && f.type === 'fin');
      client.reset(data); // Go's clients do, always
      client.frames.length = 0;
    }
    await vi.waitFor(() => expect(open.size).toBe(0));
    client.close();
  });
});

describe('a connection', () => {
  let client: SpdyClient;
  beforeEach(async () => {
    client = await SpdyClient.connect(server.portForward({ podSandboxId: 'sandbox' }), ['portforward.k8s.io']);
  });
  afterEach(() => client.close());

  test('that cannot be made is told on the error stream, with where and why', async () => {
    const { data, error } = await pair(client, 1);
    expect((await client.whole(error)).toString()).toMatch(/^cannot forward to port 1 of sandbox: .*ECONNREFUSED/);
    expect((await client.whole(data)).length).toBe(0);
  });

  test('that breaks is reset alone: clients would drop all others for a word on the error stream', async () => {
    const other = await pair(client);
    const broken = await pair(client);
    await client.send(broken.data, 'RST');
    await client.find((f) => f.stream === broken.data && f.type === 'rst');
    expect((await client.whole(broken.error)).length).toBe(0);
    await client.send(other.data, 'y', true);
    expect((await client.whole(other.data)).toString()).toBe('heard y');
  });

  test('ends when the client resets its stream, or is gone', async () => {
    const first = await pair(client);
    await pair(client);
    await vi.waitFor(() => expect(open.size).toBe(2));
    client.reset(first.data);
    await vi.waitFor(() => expect(open.size).toBe(1));
    client.close();
    await vi.waitFor(() => expect(open.size).toBe(0));
  });

  test("whose other side has said everything still gets the client's last bytes", async () => {
    let stored = 0;
    const slow = new Duplex({
      read() {
        this.push(null);
      },
      write(piece: Buffer, _encoding, done) {
        setTimeout(() => {
          stored += piece.length;
          done();
        }, 20);
      },
    });
    backend.connect = async () => slow;
    const { data } = await pair(client);
    await client.whole(data);
    for (let sent = 0; sent < 5; sent++) await client.send(data, 'x');
    await client.send(data, 'y', true);
    await vi.waitFor(() => expect(slow.closed).toBe(true));
    expect(stored).toBe(6);
  });

  test('that comes up after the client has reset its stream is closed at once', async () => {
    const { connect } = backend;
    const late = Promise.withResolvers<void>();
    backend.connect = (...request) => late.promise.then(() => connect(...request));
    const { data } = await pair(client);
    client.reset(data);
    const other = await pair(client); // by its answer the reset has been read
    late.resolve();
    await vi.waitFor(() => expect(accepted).toBe(2));
    await vi.waitFor(() => expect(open.size).toBe(1));
    await client.send(other.data, 'z', true);
    expect((await client.whole(other.data)).toString()).toBe('heard z');
  });

  test('needs two streams that belong together', async () => {
    const refused = 'refused with status 3';
    const good = { port: String(port), requestid: 'a', streamtype: 'data' };
    await client.open(good);
    await expect(client.open(good)).rejects.toThrow(refused); // its place is taken
    await expect(client.open({ ...good, streamtype: 'error', port: '1' })).rejects.toThrow(refused); // another port
    for (const wrong of [
      { port: '0' },
      { port: '65536' },
      { port: 'http' },
      { requestid: '' },
      { streamtype: 'stdin' },
    ])
      await expect(client.open({ ...good, requestid: 'b', ...wrong })).rejects.toThrow(refused);
    expect(open.size).toBe(0);
  });
});

test('WebSocket without the name of the tunnel is refused', async () => {
  for (const protocol of ['portforward.k8s.io', 'v5.channel.k8s.io', offered.join()]) {
    const { response } = await upgrade(server.portForward({ podSandboxId: 's' }), webSocketHeaders(protocol), 'GET');
    expect(response.statusCode).toBe(403);
  }
});
