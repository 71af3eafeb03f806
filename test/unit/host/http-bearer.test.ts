/** Token servers. `test/integration/registry.test.ts` does it with a real registry that checks signatures. */
import { afterEach, expect, test } from 'vitest';
import { Transport, type TransportOptions } from '../../../src/host/http.ts';
import { startServer, type TestServer } from '../../support/server.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});
function transport(options: TransportOptions = {}): Transport {
  const made = new Transport({ retryDelay: 5, retries: 1, ...options });
  cleanups.push(() => made.close());
  return made;
}

/** Gives out token 1, 2, … and accepts only those of `valid`. The realm is `realm`, else the server itself. */
async function guarded(expiresIn: number, valid: (token: number) => boolean, realm?: string): Promise<TestServer> {
  let given = 0;
  const server = await startServer((request, response) => {
    if (request.url!.includes('/token')) {
      const body = JSON.stringify({ access_token: String(++given), expires_in: expiresIn });
      setTimeout(() => response.end(body), 10);
    } else if (valid(Number(request.headers.authorization?.slice('Bearer '.length)))) response.end('open');
    else {
      const parameters = `realm="${realm ?? `${server.url}/token`}",service="s",scope="a:b:pull c:d:pull"`;
      response.writeHead(401, { 'www-authenticate': `Basic realm="x", Bearer ${parameters}` }).end();
    }
  });
  cleanups.push(server.stop);
  return server;
}
const tokens = (server: TestServer) => server.requests.filter((request) => request.includes('/token'));

test('requests at the same time share one token, and each scope is asked for', async () => {
  const server = await guarded(300, (token) => token === 1);
  const http = transport();
  expect(await Promise.all([1, 2, 3].map(() => http.text(server.url)))).toEqual(['open', 'open', 'open']);
  expect(tokens(server)).toEqual(['GET /token?service=s&scope=a%3Ab%3Apull&scope=c%3Ad%3Apull']);
});

test('what a request needs is added to what the server asks for, which may be words of any kind', async () => {
  const server = await startServer((request, response) => {
    if (request.url!.startsWith('/token')) return void response.end(JSON.stringify({ token: 't' }));
    if (request.headers.authorization) return void response.end('open');
    const scope = 'openid repository:a/b:pull';
    response.writeHead(401, { 'www-authenticate': `Bearer realm="${server.url}/token",scope="${scope}"` }).end();
  });
  cleanups.push(server.stop);
  await transport().text(server.url, { scope: 'repository:a/b:pull,push repository:c:pull' });
  const [asked = ''] = tokens(server);
  expect(new URL(asked.slice('GET '.length), server.url).searchParams.getAll('scope')).toEqual([
    'repository:a/b:pull,push',
    'repository:c:pull',
    'openid',
  ]);
});

test('an expired token is not offered, a revoked one is replaced once', async () => {
  const expiring = await guarded(0, (token) => token > 0);
  const http = transport();
  for (const _ of [1, 2]) expect(await http.text(expiring.url)).toBe('open');
  expect(tokens(expiring)).toHaveLength(2);

  let revoked = 0;
  const server = await guarded(300, (token) => token > revoked);
  expect(await http.text(server.url)).toBe('open');
  revoked = 1;
  expect(await http.text(server.url)).toBe('open');
  expect(tokens(server)).toHaveLength(2);
});

test('a token that opens nothing is a refusal, not a loop', async () => {
  const server = await guarded(300, () => false);
  await expect(transport().text(server.url)).rejects.toMatchObject({
    message: `${server.url}: the server answered 401`,
  });
  expect(server.requests.length).toBeLessThan(8);
});

test("a mirror that passes on upstream's challenge stands for the token server too", async () => {
  const server = await guarded(300, (token) => token === 1, 'https://auth.test/token');
  expect(await transport({ mirrors: [server.url] }).text('https://registry.test/v2/x')).toBe('open');
  expect(tokens(server)[0]).toMatch(/^GET \/auth\.test\/token\?service=s/);
});

test('offline, no token is asked for either', async () => {
  const server = await guarded(300, () => true);
  await expect(transport({ offline: true }).text(server.url)).rejects.toMatchObject({ code: 'offline' });
  expect(server.requests).toEqual([]);
});

test('a token that is given is sent unchanged when a token is required, and no other is requested', async () => {
  const server = await guarded(300, (token) => token === 42);
  const http = transport({ findLogin: async () => ({ source: 'test', token: '42' }) });
  expect(await http.text(server.url)).toBe('open');
  const refused = transport({ findLogin: async () => ({ source: 'test', token: '43' }) });
  await expect(refused.text(server.url)).rejects.toMatchObject({ code: 'network' });
  expect(tokens(server)).toEqual([]);
});
