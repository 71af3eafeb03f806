import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createPlain } from 'node:http';
import { createServer as createTls } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { proxiesOf } from '../../../src/host/environment.ts';
import type { KinaError } from '../../../src/host/errors.ts';
import { Transport, type TransportOptions } from '../../../src/host/http.ts';
import { breakOff, sendFile, startServer, type TestServer } from '../../support/server.ts';

const cleanups: (() => unknown)[] = [];
beforeEach(() => {
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY']) {
    vi.stubEnv(name, undefined);
    vi.stubEnv(name.toLowerCase(), undefined);
  }
});
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

async function serve(...args: Parameters<typeof startServer>): Promise<TestServer> {
  const server = await startServer(...args);
  cleanups.push(() => server.stop());
  return server;
}
function transport(options: TransportOptions = {}): Transport {
  const made = new Transport({ retryDelay: 5, proxies: proxiesOf(process.env), ...options });
  cleanups.push(() => made.close());
  return made;
}
async function failure(promise: Promise<unknown>): Promise<KinaError> {
  return promise.then(
    () => expect.fail('it should have failed'),
    (error) => error as KinaError,
  );
}
function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'kina-http-'));
  cleanups.push(() => rmSync(folder, { recursive: true }));
  return folder;
}

describe('retries', () => {
  test('a busy server is asked again when it says', async () => {
    const server = await serve((_, response) => {
      if (server.requests.length === 1) response.writeHead(503, { 'retry-after': '0' }).end();
      else if (server.requests.length === 2) response.writeHead(429).end();
      else response.end('done');
    });
    expect(await transport().text(`${server.url}/x`)).toBe('done');
    expect(server.requests).toHaveLength(3);
  });

  test('Retry-After is obeyed: the next request does not come earlier', async () => {
    const times: number[] = [];
    const server = await serve((_, response) => {
      times.push(Date.now());
      if (times.length === 1) response.writeHead(503, { 'retry-after': '1' }).end();
      else response.end();
    });
    await transport().text(server.url);
    expect(times[1]! - times[0]!).toBeGreaterThanOrEqual(990);
  });

  test('a Retry-After of an hour fails at once and is part of the message', async () => {
    const server = await serve((_, response) => response.writeHead(503, { 'retry-after': '3600' }).end());
    const error = await failure(transport().text(server.url));
    expect(error).toMatchObject({ code: 'network', details: ['retry after 3600 s'] });
    expect(server.requests).toHaveLength(1);
  });

  test('a small file that breaks off in the middle is read again, not returned short', async () => {
    const server = await serve((_, response) => {
      if (server.requests.length < 3) breakOff(response, 200, { 'content-length': '8' }, Buffer.from('half'));
      else response.end('complete');
    });
    expect(await transport().text(server.url)).toBe('complete');
  });

  test.each([400, 401, 403, 451])('%i is not retried', async (status) => {
    const server = await serve((_, response) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end('{"errors":"\u001b[31mno\\n"}'),
    );
    const error = await failure(transport().text(`${server.url}/x`));
    expect(error.message).toBe(`${server.url}/x: the server answered ${status}`);
    expect(error.details.join()).not.toContain('\u001b');
    expect(server.requests).toHaveLength(1);
  });

  test('the last failure is reported when patience ends', async () => {
    const server = await serve((_, response) => response.writeHead(502).end());
    expect(await failure(transport({ retries: 2 }).text(server.url))).toMatchObject({ code: 'network' });
    expect(server.requests).toHaveLength(3);
  });

  test('a cancelled request is not tried again, nor waited for', async () => {
    const stop = new AbortController();
    const server = await serve(() => stop.abort());
    const error = await failure(transport({ signal: stop.signal }).text(server.url));
    expect(error.code).toBe('interrupted');
    expect(server.requests).toHaveLength(1);
  });

  test('cancelling ends the pause before a retry', async () => {
    const server = await serve((_, response) => response.writeHead(503, { 'retry-after': '60' }).end());
    const error = await failure(transport().text(server.url, { signal: AbortSignal.timeout(50) }));
    expect(error.code).toBe('interrupted');
  });

  test('a server that accepts and says nothing is given up', async () => {
    const server = await serve(() => {});
    const error = await failure(transport({ retries: 0, timeouts: { headers: 100 } }).text(server.url));
    expect(error.message).toContain('the server stopped sending');
  });
});

describe('not found', () => {
  test('names the canonical URL and the mirror that was asked', async () => {
    const server = await serve((_, response) => response.writeHead(404).end());
    const error = await failure(transport({ mirrors: [server.url] }).text('https://dl.k8s.io/nothing'));
    expect(error).toMatchObject({ code: 'not-found', message: 'https://dl.k8s.io/nothing does not exist' });
    expect(error.details).toEqual([`asked ${server.url}/dl.k8s.io/nothing`]);
    expect(server.requests).toHaveLength(1);
  });

  test('410 Gone is as definite as 404', async () => {
    const server = await serve((_, response) => response.writeHead(410).end());
    expect(await failure(transport().head(server.url))).toMatchObject({ code: 'not-found' });
  });

  test('one of two mirrors lacks a file: the other is asked', async () => {
    const empty = await serve((_, response) => response.writeHead(404).end());
    const full = await serve((_, response) => response.end('here'));
    expect(await transport({ mirrors: [empty.url, full.url] }).text('https://h.test/f')).toBe('here');
  });

  test('one mirror lacks it and the other is broken: that is a failure, never an absence', async () => {
    const empty = await serve((_, response) => response.writeHead(404).end());
    const broken = await serve((_, response) => response.writeHead(500).end());
    const mirrors = [empty.url, broken.url];
    expect(await failure(transport({ mirrors, retries: 1 }).text('https://h.test/f'))).toMatchObject({
      code: 'network',
    });
    expect(empty.requests).toHaveLength(1);
    expect(broken.requests).toHaveLength(2);
  });

  test('a dead mirror is asked last from then on', async () => {
    const dead = await serve((_, response) => response.writeHead(500).end());
    const alive = await serve((_, response) => response.end('ok'));
    const http = transport({ mirrors: [dead.url, alive.url] });
    for (const _ of [1, 2, 3]) expect(await http.text('https://h.test/f')).toBe('ok');
    expect(dead.requests).toHaveLength(1);
  });
});

describe('messages', () => {
  test('nothing listens', async () => {
    const server = await startServer(() => {});
    await server.stop();
    const error = await failure(transport({ retries: 0 }).text(`${server.url}/x`));
    expect(error.message).toBe(`${server.url}/x: connection refused`);
    expect(error.hint).toContain('the server is running');
  });

  test('an unknown host is not retried and says so', async () => {
    const error = await failure(transport({ retries: 9 }).text('https://no-such-host.invalid/x'));
    expect(error.code).toBe('network');
    expect(error.message).toMatch(/unknown host name|the DNS server does not answer/);
    expect(error.hint).toContain('--mirror');
  });

  test('passwords in a mirror work as a login and stay out of messages', async () => {
    const server = await serve((request, response) => {
      const sent = String(request.headers.authorization);
      response.writeHead(sent === `Basic ${btoa('me:s3cr@t')}` ? 418 : 401, { 'content-type': 'text/plain' });
      response.end(`you sent ${sent}, which is ${atob(sent.slice(6))}`);
    });
    const mirror = server.url.replace('//', '//me:s3cr%40t@');
    const error = await failure(transport({ mirrors: [mirror] }).text('https://h.test/f'));
    expect(error.message).toContain('the server answered 418');
    const everything = JSON.stringify([error.message, error.hint, error.details]);
    expect(everything).toContain('you sent Basic ***, which is me:***');
    for (const secret of ['s3cr', btoa('me:s3cr@t')]) expect(everything).not.toContain(secret);
  });

  test('a certificate of an unknown CA: the way out that the hint names works, and https never becomes http', async (context) => {
    const folder = temporaryFolder();
    const [key, cert] = [join(folder, 'key'), join(folder, 'cert')];
    try {
      const subject = ['-subj', '/CN=test', '-addext', 'subjectAltName=IP:127.0.0.1'];
      const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
      execFileSync('openssl', ['req', '-x509', ...kind, ...subject, '-keyout', key, '-out', cert], { stdio: 'ignore' });
    } catch {
      return context.skip('openssl is not installed');
    }
    const tls = { key: readFileSync(key), cert: readFileSync(cert) };
    const server = await serve(
      (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:9/' }).end(),
      (listener) => createTls(tls, listener) as never,
    );
    const url = server.url.replace('http:', 'https:');
    const error = await failure(transport().text(url));
    expect(error.message).toContain("the server's certificate is not trusted");
    expect(error.hint).toContain('NODE_EXTRA_CA_CERTS');

    const module = new URL('../../../src/host/http.ts', import.meta.url).href;
    const script = `const { Transport } = await import('${module}');
      await new Transport().text('${url}').catch((error) => console.log(error.message));`;
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: cert };
    const child = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { env });
    expect(child.stdout).toContain('refused a redirect from https to http');
  });
});

describe('redirects', () => {
  test('are followed to storage; the token stays with the server that gave it', async () => {
    const storage = await serve((_, response) => response.end('bytes'));
    const server = await serve((_, response) =>
      response.writeHead(307, { location: `${storage.url}/b?X-Amz-Signature=1` }).end(),
    );
    const answer = await transport().read(server.url, { headers: { Authorization: 'Bearer t' } });
    expect(answer.bytes.toString()).toBe('bytes');
    expect(server.headers[0]).toHaveProperty('authorization', 'Bearer t');
    expect(storage.headers[0]).not.toHaveProperty('authorization');
  });

  test('going round in circles ends', async () => {
    const server = await serve((_, response) => response.writeHead(302, { location: '/again' }).end());
    expect((await failure(transport().text(server.url))).message).toContain('more than 10 redirects');
    expect(server.requests).toHaveLength(11);
  });

  test('a server cannot send us to a file of this machine', async () => {
    const server = await serve((_, response) => response.writeHead(302, { location: 'file:///etc/hostname' }).end());
    expect((await failure(transport().text(server.url))).message).toContain('a URL that is not http or https');
    expect(server.requests).toHaveLength(1);
  });
});

describe('limits and sizes', () => {
  test('an endless answer is cut off at the limit', async () => {
    const server = await serve((_, response) => {
      const pump = () => {
        while (!response.destroyed && response.write(Buffer.alloc(1 << 16)));
      };
      response.on('drain', pump);
      pump();
    });
    const error = await failure(transport().text(server.url, { limit: 100_000 }));
    expect(error.message).toContain('larger than the limit of 100000 bytes');
    expect(server.requests).toHaveLength(1);
  });

  test.each([
    ['HEAD tells', false, undefined],
    ['HEAD is refused', true, undefined],
    ['HEAD is refused and Range ignored', true, true],
  ])('size when %s', async (_, refuse, ignoreRange) => {
    const server = await serve((request, response) => {
      if (refuse && request.method === 'HEAD') response.writeHead(405).end();
      else sendFile(request, response, Buffer.alloc(1000), { etag: '"e"', ignoreRange: ignoreRange ?? false });
    });
    expect(await transport().head(server.url)).toEqual({ size: 1000, etag: '"e"' });
  });

  test('a compressed transfer is not asked for: digests are of the bytes as stored', async () => {
    const server = await serve((_, response) => response.end());
    await transport().text(server.url);
    expect(server.headers[0]).toHaveProperty('accept-encoding', 'identity');
  });

  test('a conditional request may answer 304', async () => {
    const server = await serve((_, response) => response.writeHead(304).end());
    expect(await transport().read(server.url, { headers: { 'if-none-match': '"e"' } })).toMatchObject({ status: 304 });
  });
});

describe('offline', () => {
  test('nothing leaves the machine; local files are still read', async () => {
    const server = await serve((_, response) => response.end());
    const http = transport({ offline: true, mirrors: [server.url] });
    const error = await failure(http.text('https://dl.k8s.io/x'));
    expect(error).toMatchObject({ code: 'offline' });
    expect(error.message).toContain('https://dl.k8s.io/x');
    expect(server.requests).toEqual([]);
    const file = join(temporaryFolder(), 'a b');
    writeFileSync(file, 'local');
    expect(await http.text(pathToFileURL(file).href)).toBe('local');
    expect(await http.head(pathToFileURL(file).href)).toMatchObject({ size: 5 });
    expect(await failure(http.text('file:///no/such/file'))).toMatchObject({ code: 'not-found' });
    expect(await failure(http.text('file:///usr'))).toMatchObject({ code: 'usage' });
  });

  test('a folder can be a mirror', async () => {
    const folder = temporaryFolder();
    mkdirSync(join(folder, 'h.test'));
    writeFileSync(join(folder, 'h.test', 'f'), 'from the folder');
    const http = transport({ mirrors: [pathToFileURL(folder).href] });
    expect(await http.text('https://h.test/f')).toBe('from the folder');
  });
});

describe('proxies', () => {
  /** A forward proxy: absolute-form requests for http, CONNECT for https. */
  async function proxy(seen: string[], status = 200): Promise<TestServer> {
    return serve(
      (request, response) => {
        seen.push(`${request.method} ${request.url} ${request.headers['proxy-authorization'] ?? ''}`.trim());
        response.writeHead(status).end('by proxy');
      },
      (listener) => {
        const server = createPlain(listener);
        server.on('connect', (request, socket) => {
          seen.push(`CONNECT ${request.url}`);
          const [host, port] = request.url!.split(':');
          if (status !== 200) return void socket.end(`HTTP/1.1 ${status} No\r\n\r\n`);
          const upstream = connect(Number(port), host, () => {
            socket.write('HTTP/1.1 200 OK\r\n\r\n');
            socket.pipe(upstream).pipe(socket);
          });
          upstream.on('error', () => socket.destroy());
          return undefined;
        });
        return server;
      },
    );
  }

  test('http goes through HTTP_PROXY in absolute form, with its login', async () => {
    const seen: string[] = [];
    const server = await proxy(seen);
    vi.stubEnv('http_proxy', server.url.replace('//', '//me:pw@'));
    expect(await transport().text('http://upstream.test/x')).toBe('by proxy');
    expect(seen).toEqual([`GET http://upstream.test/x Basic ${btoa('me:pw')}`]);
  });

  test('https is a tunnel; a refusal names the proxy without its password', async () => {
    const seen: string[] = [];
    const server = await proxy(seen, 407);
    vi.stubEnv('HTTPS_PROXY', server.url.replace('//', '//me:secret@'));
    const error = await failure(transport().text('https://upstream.test/x'));
    expect(seen).toEqual(['CONNECT upstream.test:443']);
    expect(error.message).toContain('the proxy refused: 407');
    expect(error.hint).toContain('HTTPS_PROXY is http://***@127.0.0.1');
    expect(JSON.stringify([error.message, error.hint])).not.toContain('secret');
  });

  test('this machine, NO_PROXY and https without HTTPS_PROXY stay direct', async () => {
    const seen: string[] = [];
    const server = await proxy(seen);
    vi.stubEnv('HTTP_PROXY', server.url.replace('http://', ''));
    vi.stubEnv('NO_PROXY', 'other.invalid,.inner.invalid');
    const target = await serve((_, response) => response.end('direct'));
    expect(await transport().text(target.url)).toBe('direct');
    const http = transport({ retries: 0 });
    for (const url of ['http://other.invalid/', 'http://a.inner.invalid/', 'https://upstream.invalid/'])
      expect((await failure(http.text(url))).code).toBe('network');
    expect(seen).toEqual([]);
    expect(await http.text('http://proxied.invalid/')).toBe('by proxy');
  });

  test('a proxy that is not a URL is an error before the first request', () => {
    vi.stubEnv('HTTPS_PROXY', 'gopher://x');
    expect(() => transport()).toThrow('HTTPS_PROXY is not a proxy URL');
  });
});
