/**
 * A streaming backend without containers: host processes with the same pipes that a container's process has, and this
 * machine's loopback as the sandbox's. What is tested with it is everything between a client and those pipes.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { StreamingBackend, TerminalSize } from '../../src/cri/streaming/backend.ts';

export interface HostBackend extends StreamingBackend {
  /** Sizes that clients have sent, in order. */
  readonly sizes: TerminalSize[];
  /** Calls whose client went away before their end. */
  gone: number;
}

/** `attach` joins a shell that waits for input: what is attached to in critest. */
export function hostBackend(): HostBackend {
  const backend: HostBackend = {
    sizes: [],
    gone: 0,
    async exec({ cmd: [program = '', ...rest] }, streams, signal) {
      const child = spawn(program, rest, { stdio: ['pipe', 'pipe', 'pipe'] });
      const closed = once(child, 'close');
      signal.addEventListener('abort', () => {
        if (child.exitCode === null && child.signalCode === null) backend.gone++;
        child.kill('SIGKILL');
      });
      child.stdin.on('error', () => {}); // it has not read everything
      if (streams.stdin) streams.stdin.pipe(child.stdin);
      else child.stdin.end();
      if (streams.resize)
        void (async (sizes) => {
          for await (const size of sizes) backend.sizes.push(size);
        })(streams.resize);
      const copies = [
        streams.stdout && pipeline(child.stdout, streams.stdout, { end: false }),
        streams.stderr && pipeline(child.stderr, streams.stderr, { end: false }),
      ];
      await Promise.all(copies);
      const [code] = await closed;
      return { exitCode: code ?? 137 };
    },
    async attach(request, streams, signal) {
      await backend.exec({ ...request, cmd: ['sh'] }, streams, signal);
    },
    connect: (_sandbox, port) =>
      new Promise<Duplex>((done, failed) => {
        const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
        socket.once('error', failed).once('connect', () => done(socket));
      }),
  };
  return backend;
}
