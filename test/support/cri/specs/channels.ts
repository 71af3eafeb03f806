/** A command's channels by name, as kubectl's own clients open them: streams of SPDY/3.1, or one WebSocket (v5). */
import { once } from 'node:events';
import { WebSocket } from 'ws';
import { SpdyClient } from '../../spdy-client.ts';
import { openTunnel } from '../../websocket-tunnel.ts';
import { until } from '../pods.ts';
import type { Transport } from './spec.ts';

type Input = 'stdin' | 'resize';
type Output = 'stdout' | 'stderr' | 'error';

export interface Channels {
  send(name: Input, text: string): Promise<void>;
  /** Half-closes: the process reads the end. */
  finish(name: Input): Promise<void>;
  /** What has come so far. */
  said(name: Output): string;
  /** Resolves when the server has ended all that it sends. */
  ended(): Promise<void>;
  close(): void;
}

/** Opens exactly these; `error` is always there. The URL is that of the answer to Exec or Attach. */
export function openChannels(url: string, transport: Transport, names: readonly (Input | Output)[]): Promise<Channels> {
  return transport === 'SPDY' ? overSpdy(url, names) : overWebSocket(url, names);
}

/** A connection of SPDY frames to a pod's ports. */
export async function openForward(url: string, transport: Transport): Promise<SpdyClient> {
  if (transport === 'SPDY') return SpdyClient.connect(url, ['portforward.k8s.io']);
  return new SpdyClient(await openTunnel(url, 32 << 10));
}

async function overSpdy(url: string, names: readonly (Input | Output)[]): Promise<Channels> {
  const client = await SpdyClient.connect(url, ['v4.channel.k8s.io']);
  const ids = await client.channels(['error', ...names]);
  const outputs = ['error', ...names].filter((name) => name !== 'stdin' && name !== 'resize');
  return {
    send: (name, text) => client.send(ids[name], text),
    finish: (name) => client.send(ids[name], '', true),
    said: (name) =>
      Buffer.concat(
        client.frames.filter(({ stream, type }) => stream === ids[name] && type === 'data').map(({ data }) => data),
      ).toString(),
    async ended() {
      // Go's server ends the connection instead of its streams.
      await Promise.all(outputs.map((name) => client.whole(ids[name]))).catch(() => client.closed());
    },
    close: () => client.close(),
  };
}

/** Numbers of the channels in the protocol. */
const channel = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4 } as const;

async function overWebSocket(url: string, names: readonly (Input | Output)[]): Promise<Channels> {
  const socket = new WebSocket(url, 'v5.channel.k8s.io');
  const messages: Buffer[] = [];
  let code: number | undefined;
  socket.on('message', (bytes: Buffer) => messages.push(bytes));
  socket.once('close', (reason: number) => {
    code = reason;
  });
  await once(socket, 'open');
  const send = (bytes: Uint8Array): Promise<void> =>
    new Promise((done, failed) => socket.send(bytes, (error) => (error ? failed(error) : done())));
  const number = (name: Input): number => {
    if (!names.includes(name)) throw new Error(`${name} was not asked for`);
    return channel[name];
  };
  return {
    send: (name, text) => send(Buffer.concat([Buffer.of(number(name)), Buffer.from(text)])),
    finish: (name) => send(Buffer.of(255, number(name))),
    said: (name) =>
      Buffer.concat(
        messages.filter((bytes) => bytes[0] === channel[name]).map((bytes) => bytes.subarray(1)),
      ).toString(),
    async ended() {
      const ending = await until('the server closes the WebSocket', 60, async () => code);
      if (ending !== 1000) throw new Error(`the WebSocket ended with ${ending}`);
    },
    close: () => socket.terminate(),
  };
}
