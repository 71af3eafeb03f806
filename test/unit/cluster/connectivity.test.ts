/** A port that accepts is not an API server that answers. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { afterEach, expect, test } from 'vitest';
import { handshake, warnIfUnreachable } from '../../../src/cluster/connectivity.ts';
import type { Steps } from '../../../src/host/progress.ts';
import type { Provider } from '../../../src/provider/provider.ts';
import { check } from '../../support/command.ts';
import { describeWith } from '../../support/requirements.ts';

let server: Server | undefined;
afterEach(() => new Promise((done) => (server ? server.close(done) : done(undefined))));

async function listening(one: Server): Promise<string> {
  server = one;
  await new Promise<void>((done) => one.listen(0, '127.0.0.1', done));
  return `https://127.0.0.1:${(one.address() as AddressInfo).port}`;
}

test('a forwarder that accepts and has nothing behind it', async () => {
  const url = await listening(createServer((socket) => socket.on('error', () => {}).resume()));
  expect(await handshake(url, 200)).toBe('no answer within 0.2 s');
});

test('one that closes at once, and none at all: the warning says what to do', async () => {
  const url = await listening(createServer((socket) => socket.destroy()));
  expect(await handshake(url)).toBeDefined();
  const said: string[] = [];
  const steps = { warn: (text: string) => said.push(text) } as unknown as Steps;
  await warnIfUnreachable('https://127.0.0.1:1', { connectivityHint: 'do this' } as Provider, steps);
  expect(said).toEqual([
    'the cluster is running, but https://127.0.0.1:1 is not reachable from this machine (ECONNREFUSED): do this',
  ]);
});

describeWith('an API server', ['openssl'], () => {
  test('with an unknown certificate is reached', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'kina-reach-'));
    try {
      const [key, cert] = [join(folder, 'key'), join(folder, 'cert')];
      const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
      await check([
        'openssl',
        'req',
        '-x509',
        ...curve,
        '-keyout',
        key,
        '-out',
        cert,
        '-days',
        '1',
        '-subj',
        '/CN=kubernetes',
      ]);
      const url = await listening(createTlsServer({ key: readFileSync(key), cert: readFileSync(cert) }));
      expect(await handshake(url)).toBeUndefined();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
