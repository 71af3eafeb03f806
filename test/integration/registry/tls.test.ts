/**
 * A registry with a certificate by a CA of its own, as companies have them: with that CA everything works, without it
 * nothing is sent and the error says what to do. Its name leads to loopback through a proxy, because kina speaks plain HTTP
 * to loopback itself.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { check } from '../../support/command.ts';
import { type Bench, digestIn, openBench, version } from '../../support/kina.ts';
import { startRegistry } from '../../support/registry.ts';
import { describeUnless, missing } from '../../support/requirements.ts';

const folder = await mkdtemp(join(tmpdir(), 'kina-tls-'));
const file = (name: string) => join(folder, name);
const noOpenssl = missing(['openssl']);
if (noOpenssl === undefined) await makeCertificates();
const registry =
  noOpenssl === undefined
    ? await startRegistry({ tls: { certificate: file('server.pem'), key: file('server.key') } })
    : { skip: noOpenssl };
const name = 'registry.example.test';

async function makeCertificates(): Promise<void> {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const openssl = (...args: string[]) => check(['openssl', ...args], { cwd: folder });
  await openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=An own CA');
  await openssl('req', ...key, '-keyout', 'server.key', '-out', 'server.csr', '-subj', '/CN=registry');
  await writeFile(file('names'), 'subjectAltName=DNS:registry.example.test');
  const sign = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'names'];
  await openssl('x509', '-req', '-in', 'server.csr', '-out', 'server.pem', ...sign);
}

describeUnless(registry.skip, 'a registry with a CA of its own', () => {
  let bench: Bench;
  const asked: string[] = [];
  const proxy = createServer().on('connect', (request, socket, head) => {
    asked.push(request.url ?? '');
    const [host, port] = registry.skip === undefined ? registry.host.split(':') : [];
    const target = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      target.write(head);
      target.pipe(socket).pipe(target);
    });
    for (const one of [target, socket]) one.on('error', () => target.destroy());
  });
  let env: Record<string, string>;
  beforeAll(async () => {
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    env = { HTTPS_PROXY: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, NO_PROXY: '' };
    bench = await openBench();
    digestIn(await bench.build());
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    await writeFile(file('key.pem'), privateKey.export({ format: 'pem', type: 'pkcs8' }));
    await writeFile(file('key.pub'), publicKey.export({ format: 'pem', type: 'spki' }));
  });
  afterAll(async () => {
    proxy.closeAllConnections();
    proxy.close();
    await bench?.close();
    if (registry.skip === undefined) await registry.stop();
    await rm(folder, { recursive: true, force: true });
  });
  const ref = `${name}/tls/node:v1`;

  test('push, sign, pull, copy and verify, with the CA in NODE_EXTRA_CA_CERTS', async () => {
    const options = { env: { ...env, NODE_EXTRA_CA_CERTS: file('ca.pem') } };
    const pushed = await bench.kina(['push', `localhost/kina/small:${version}`, ref, '--provenance'], options);
    const digest = digestIn(pushed);
    for (const args of [
      ['sign', ref, '--key', file('key.pem')],
      ['pull', ref],
      ['copy', ref, `${name}/tls/copy:v1`],
    ])
      expect(digestIn(await bench.kina(args, { ...options, store: 'other' })), args.join(' ')).toBe(digest);
    for (const one of [ref, `${name}/tls/copy:v1`]) {
      const flags = ['--require-signature', '--key', file('key.pub')];
      const verified = await bench.kina(['verify', `docker://${one}`, ...flags], options);
      expect(verified.code, verified.stderr).toBe(0);
    }
    expect(new Set(asked)).toEqual(new Set([`${name}:443`]));
  });

  test('without it: refused at once, with what to do', async () => {
    const stranger = `${name}/tls/stranger:v1`;
    for (const args of [
      ['push', `localhost/kina/small:${version}`, stranger],
      ['pull', ref],
      ['verify', `docker://${ref}`],
      ['sign', ref, '--key', file('key.pem')],
    ]) {
      const refused = await bench.kina(args, { env, store: args[0] === 'push' ? 'store' : 'empty' });
      expect(refused, args.join(' ')).toMatchObject({ code: 1, stdout: '' });
      expect(refused.stderr).toContain("the server's certificate is not trusted");
      expect(refused.stderr).toContain('NODE_EXTRA_CA_CERTS');
      // A certificate does not get better by asking again.
      expect(refused.ms).toBeLessThan(10_000);
    }
  });
});
