/**
 * The streaming server and a client that was not written for it: crictl, over SPDY and over WebSocket. `KINA_TEST_CRICTL`
 * names the program (version 1.36 or later: older ones have no `--transport`) when it is not on the PATH.
 */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type handleUnaryCall, Server, ServerCredentials, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { definition } from '../../../src/cri/api/services.ts';
import { type StreamingServer, startStreaming } from '../../../src/cri/streaming/server.ts';
import { run } from '../../../src/host/process.ts';
import { describeUnless, pathOf } from '../../support/requirements.ts';
import { type HostBackend, hostBackend } from '../../support/streaming.ts';

const crictl = process.env.KINA_TEST_CRICTL ?? pathOf('crictl');
const help = crictl ? (await run([crictl, 'exec', '--help'])).stdout : '';
const missing = !crictl
  ? 'crictl is not installed (KINA_TEST_CRICTL names one)'
  : help.includes('--transport')
    ? undefined
    : `${crictl} is too old: it has no --transport`;

describeUnless(missing, 'crictl', () => {
  let folder: string;
  let backend: HostBackend;
  let streaming: StreamingServer;
  let rpc: Server;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kina-crictl-'));
    backend = hostBackend();
    streaming = await startStreaming(backend, { address: '127.0.0.1', port: 0 });
    rpc = await runtimeAt(`unix://${folder}/cri.sock`, streaming);
    await writeFile(join(folder, 'crictl.yaml'), '');
  });
  afterAll(async () => {
    rpc?.forceShutdown();
    await streaming?.close();
    await rm(folder, { recursive: true, force: true });
  });

  const command = (...args: string[]) => {
    const socket = `unix://${folder}/cri.sock`;
    return [crictl ?? '', '--config', join(folder, 'crictl.yaml'), '-r', socket, '-i', socket, ...args];
  };

  describe.each(['spdy', 'websocket'])('over %s', (transport) => {
    const exec = (input: string | Uint8Array | undefined, ...cmd: string[]) =>
      run(command('exec', '-r', transport, ...(input === undefined ? [] : ['-i']), 'c', ...cmd), { input });

    test('output, errors and the exit code arrive', async () => {
      const { code, stdout, stderr } = await exec(undefined, 'sh', '-c', 'echo out; echo err >&2; exit 7');
      expect(stdout).toBe('out\n');
      expect(stderr).toMatch(/^err$/m);
      expect(stderr).toContain('command terminated with exit code 7');
      expect(code).not.toBe(0);
    });

    test('input goes in and comes back', async () => {
      const input = randomBytes(3_200_000);
      await writeFile(join(folder, 'input'), input);
      const { stdout } = await exec(input, 'sh', '-c', `cmp - ${folder}/input && echo same`);
      expect(stdout).toBe('same\n');
      const line = 'x'.repeat(99_999);
      expect((await exec(`${line}\n`, 'cat')).stdout).toBe(`${line}\n`);
    });

    test('50 MiB of output are whole', async () => {
      const argv = command('exec', '-r', transport, 'c', 'head', '-c', String(50 << 20), '/dev/zero');
      const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
      const hash = createHash('sha256');
      for await (const chunk of child.stdout) hash.update(chunk);
      expect(hash.digest('hex')).toBe(
        createHash('sha256')
          .update(Buffer.alloc(50 << 20))
          .digest('hex'),
      );
    });

    test('attach ends with its input', async () => {
      const { code, stdout } = await run(command('attach', '-r', transport, '-i', 'c'), {
        input: 'echo typed $((6*7))\n',
      });
      expect({ code, stdout }).toEqual({ code: 0, stdout: 'typed 42\n' });
    });

    test('a killed client ends what it started', async () => {
      const before = backend.gone;
      const argv = command('exec', '-r', transport, 'c', 'sh', '-c', 'echo up; sleep 60');
      const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
      await new Promise((up) => child.stdout.once('data', up));
      child.kill('SIGKILL');
      await vi.waitFor(() => expect(backend.gone).toBe(before + 1));
    });

    test('ports are forwarded, several connections at a time', async () => {
      const body = randomBytes(100_000);
      const remote = await serve(body);
      const argv = command('port-forward', '-r', transport, 's', `0:${(remote.address() as AddressInfo).port}`);
      const child = spawn(argv[0] ?? '', argv.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
      try {
        const said = await new Promise<string>((done) => child.stdout.setEncoding('utf8').once('data', done));
        const port = /127\.0\.0\.1:(\d+)/.exec(said)?.[1];
        const answers = await Promise.all(
          Array.from({ length: 10 }, async () => {
            const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } });
            return Buffer.from(await response.arrayBuffer());
          }),
        );
        expect(answers.every((answer) => answer.equals(body))).toBe(true);
      } finally {
        child.kill('SIGKILL');
        remote.close();
      }
    });
  });
});

/** A runtime of the calls that crictl needs before it connects. */
async function runtimeAt(address: string, streaming: StreamingServer): Promise<Server> {
  const server = new Server();
  const calls = (handlers: Record<string, (request: never) => object>): UntypedServiceImplementation => {
    const call =
      (handler: (request: never) => object): handleUnaryCall<object, object> =>
      ({ request }, done) =>
        done(null, handler(request as never));
    return Object.fromEntries(Object.entries(handlers).map(([name, handler]) => [name, call(handler)]));
  };
  const version = { version: '0.1.0', runtimeName: 'test', runtimeVersion: '1', runtimeApiVersion: 'v1' };
  server.addService(
    definition('RuntimeService', 'v1'),
    calls({
      Version: () => version,
      Exec: (request) => ({ url: streaming.exec(request) }),
      Attach: (request) => ({ url: streaming.attach(request) }),
      PortForward: (request) => ({ url: streaming.portForward(request) }),
    }),
  );
  server.addService(definition('ImageService', 'v1'), calls({ ImageFsInfo: () => ({}) }));
  await new Promise<void>((done, failed) =>
    server.bindAsync(address, ServerCredentials.createInsecure(), (error) => (error ? failed(error) : done())),
  );
  return server;
}

function serve(body: Buffer): Promise<HttpServer> {
  return new Promise((done) => {
    const server = createServer((_request, response) => response.end(body));
    server.listen(0, '127.0.0.1', () => done(server));
  });
}
