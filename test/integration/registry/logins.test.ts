/**
 * Logins: where they are read, who gets them, and that they are not shown. With a real registry that wants a password, with
 * servers that try to get one, and with the command line, whose every output and file is searched for it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { KinaError } from '../../../src/host/errors.ts';
import { Transport, type TransportOptions } from '../../../src/host/http.ts';
import { silent } from '../../../src/host/progress.ts';
import type { Descriptor } from '../../../src/oci/descriptor.ts';
import { parseReference } from '../../../src/oci/reference.ts';
import { registryLogins } from '../../../src/oci/registry/credentials.ts';
import { type PushResult, pushImage } from '../../../src/oci/registry/push.ts';
import { storeImage } from '../../../src/oci/store/image.ts';
import { Store } from '../../../src/oci/store/store.ts';
import { check } from '../../support/command.ts';
import { type Bench, digestIn, openBench } from '../../support/kina.ts';
import { startRegistry } from '../../support/registry.ts';
import { describeUnless } from '../../support/requirements.ts';
import { startServer } from '../../support/server.ts';
import { smallImage } from '../../support/small-image.ts';

const secret = 'planted-secret-4711';
/** bcrypt of the secret, as `htpasswd -B` writes it. */
const htpasswd = 'kina:$2y$05$abcdefghijklmnopqrstuuC04Fhah/qB6JNtfpG5azLfv0CcLYoje\n';
const pair = Buffer.from(`kina:${secret}`).toString('base64');

const folder = mkdtempSync(join(tmpdir(), 'kina-logins-'));
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});
afterAll(() => rmSync(folder, { recursive: true }));

let store: Store;
let image: Descriptor;
beforeAll(async () => {
  store = await Store.open(join(folder, 'store'));
  image = await smallImage(store, 'logins', [70_000]);
});
function transport(options: TransportOptions = {}): Transport {
  const made = new Transport({ retryDelay: 5, ...options });
  closing.push(() => made.close());
  return made;
}
function push(ref: string, root: Descriptor, options: TransportOptions): Promise<PushResult> {
  const references = [parseReference(ref)];
  return pushImage({
    image: storeImage(store, root),
    references,
    transport: transport(options),
    reporter: silent,
    store,
  });
}
async function failure(promise: Promise<unknown>): Promise<KinaError> {
  return promise.then(
    () => expect.fail('it should have failed'),
    (error) => error as KinaError,
  );
}

/** A home with these files; the environment that leads there. */
async function home(name: string, files: Record<string, unknown>): Promise<NodeJS.ProcessEnv> {
  const root = join(folder, name);
  for (const [path, content] of Object.entries(files)) {
    await mkdir(join(root, path, '..'), { recursive: true });
    await writeFile(join(root, path), typeof content === 'string' ? content : JSON.stringify(content));
  }
  return { HOME: root, XDG_RUNTIME_DIR: join(root, 'run'), PATH: `${join(root, 'bin')}:${process.env.PATH}` };
}
async function helper(env: NodeJS.ProcessEnv, name: string, script: string): Promise<void> {
  const path = join(env.HOME!, 'bin', `docker-credential-${name}`);
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, `#!/bin/sh\nread server\n${script}\n`);
  await chmod(path, 0o755);
}
const auth = (user: string, password = 'x') => ({ auth: Buffer.from(`${user}:${password}`).toString('base64') });
const url = (host: string, repository = 'a/b') => `https://${host}/v2/${repository}/manifests/v1`;

describe('where logins are', () => {
  test('podman before docker, the longest path that fits, and the names of Docker Hub', async () => {
    const env = await home('files', {
      'run/containers/auth.json': { auths: { 'quay.test/team': auth('team'), 'quay.test/team/app': auth('app') } },
      '.config/containers/auth.json': { auths: { 'quay.test': auth('anybody'), 'reg.test:5000': auth('port', 'a:b') } },
      '.docker/config.json': {
        auths: {
          'quay.test': auth('docker'),
          'https://index.docker.io/v1/': auth('hub'),
          'https://old.test/v2/': auth('old'),
        },
        currentContext: 'default',
      },
    });
    const find = registryLogins(env);
    const user = async (address: string) => (await find(address)) as { username?: string } | undefined;
    expect(await user(url('quay.test', 'team/app'))).toMatchObject({ username: 'app' });
    expect(await user(url('quay.test', 'team/application'))).toMatchObject({ username: 'team' });
    expect(await user(url('quay.test', 'teams/x'))).toMatchObject({ username: 'anybody' });
    expect(await user(url('reg.test:5000'))).toMatchObject({ username: 'port', password: 'a:b' });
    expect(await user(url('registry-1.docker.io'))).toMatchObject({ username: 'hub' });
    expect(await user(url('old.test'))).toMatchObject({ username: 'old' });
    expect(await user(url('reg.test'))).toBeUndefined();
    expect(await user(url('evil-quay.test'))).toBeUndefined();
  });

  test('$REGISTRY_AUTH_FILE is the only file, $DOCKER_CONFIG names a folder', async () => {
    const env = await home('named', {
      'only.json': { auths: { 'a.test': auth('only') } },
      'docker/config.json': { auths: { 'a.test': auth('docker'), 'b.test': auth('docker') } },
    });
    const named = registryLogins({ ...env, REGISTRY_AUTH_FILE: join(env.HOME!, 'only.json') });
    expect(await named(url('a.test'))).toMatchObject({ username: 'only' });
    expect(await named(url('b.test'))).toBeUndefined();
    const docker = registryLogins({ ...env, DOCKER_CONFIG: join(env.HOME!, 'docker') });
    expect(await docker(url('a.test'))).toMatchObject({ username: 'docker' });
  });

  test('credential helpers: one for a registry, one for the rest, and what they do not know', async () => {
    const env = await home('helpers', {
      '.docker/config.json': {
        auths: { 'b.test': {}, 'c.test': auth('written') },
        credHelpers: { 'a.test': 'own' },
        credsStore: 'general',
      },
    });
    await helper(env, 'own', `echo '{"ServerURL":"'$server'","Username":"<token>","Secret":"refresh"}'`);
    await helper(
      env,
      'general',
      `case $server in b.test) echo '{"Username":"b","Secret":"s"}';; *) echo credentials not found in native keychain; exit 1;; esac`,
    );
    const find = registryLogins(env);
    expect(await find(url('a.test'))).toMatchObject({ refreshToken: 'refresh', source: 'docker-credential-own' });
    expect(await find(url('b.test'))).toMatchObject({ username: 'b', password: 's' });
    expect(await find(url('c.test'))).toMatchObject({ username: 'written' });
    expect(await find(url('d.test'))).toBeUndefined();
  });

  test('what cannot be read is named, and not quoted', async () => {
    for (const [name, content] of Object.entries({
      broken: `{"auths":{"a.test":{"auth":"${pair}"`,
      shape: `{"auths":{"a.test":{"auth":["${pair}"]}}}`,
      coded: `{"auths":{"a.test":{"auth":"${Buffer.from(secret).toString('base64')}"}}}`,
    })) {
      const env = await home(name, { '.docker/config.json': content });
      const error = await failure(registryLogins(env)(url('a.test')));
      expect(error).toMatchObject({ code: 'usage', message: expect.stringContaining('.docker/config.json') });
      const everything = JSON.stringify([error.message, error.details, error.stack, String(error.cause)]);
      for (const word of [secret, pair, Buffer.from(secret).toString('base64')]) expect(everything).not.toContain(word);
    }
  });

  test.each([
    ['is not installed', undefined],
    ['failed with exit code 3', `echo ${secret}; echo ${secret} >&2; exit 3`],
    ['did not answer with a login', `echo '{"Secret":"${secret}"}'`],
  ])('a helper that %s', async (words, script) => {
    const env = await home(words, { '.docker/config.json': { credHelpers: { 'a.test': 'sick' } } });
    if (script) await helper(env, 'sick', script);
    const error = await failure(registryLogins(env)(url('a.test')));
    expect(error).toMatchObject({ code: 'usage', message: expect.stringContaining(`docker-credential-sick`) });
    expect(error.message).toContain(words);
    expect(JSON.stringify([error.message, error.details, error.hint, error.stack])).not.toContain(secret);
  });
});

await writeFile(join(folder, 'htpasswd'), htpasswd);
const registry = await startRegistry({
  auth: JSON.stringify({ htpasswd: { realm: 'test', path: join(folder, 'htpasswd') } }),
});
const host = registry.skip !== undefined ? '' : registry.host;
afterAll(() => (registry.skip !== undefined ? undefined : registry.stop()));

describeUnless(registry.skip, 'the command line and a registry that wants a password', () => {
  let bench: Bench;
  beforeAll(async () => {
    bench = await openBench();
    digestIn(await bench.build());
  });
  afterAll(() => bench?.close());
  const small = 'localhost/kina/small:v1.34.2';

  test('push, pull and copy with it; nothing that kina writes has it', async () => {
    const { HOME } = await home('cli', { '.docker/config.json': { auths: { [host]: auth('kina', secret) } } });
    const env = { HOME, XDG_RUNTIME_DIR: undefined, GITHUB_OUTPUT: join(bench.folder, 'outputs') };
    const ref = `${host}/private/node:v1`;
    const said = [];
    said.push(await bench.kina(['-v', '5', 'push', small, ref, '--metadata-file', 'meta.json'], { env }));
    said.push(await bench.kina(['-v', '5', 'pull', ref], { env, store: 'other' }));
    said.push(await bench.kina(['copy', ref, `${host}/private/copy:v1`, '--json'], { env, store: 'other' }));
    said.push(await bench.kina(['copy', ref, 'oci-archive:private.tar'], { env }));
    for (const { code, stderr } of said) expect([code, stderr]).toEqual([0, expect.any(String)]);
    expect(digestIn(said[1]!)).toBe(digestIn(said[0]!));

    const anonymous = await bench.kina(['-v', '5', 'push', small, ref], { env: { ...env, HOME: bench.folder } });
    expect(anonymous).toMatchObject({ code: 1, stdout: '' });
    expect(anonymous.stderr).toContain(`skopeo login ${host}`);
    const wrong = await home('wrong', { '.docker/config.json': { auths: { [host]: auth('kina', `${secret}!`) } } });
    const refused = await bench.kina(['-v', '5', 'pull', ref], {
      env: { ...env, HOME: wrong.HOME },
    });
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain('config.json');

    for (const { stdout, stderr } of [...said, anonymous, refused])
      for (const word of [secret, pair]) expect(stdout + stderr).not.toContain(word);
    // Everything that was written: two stores, archive, metadata, outputs.
    for (const word of [secret, pair])
      expect(await check(['sh', '-c', 'grep -rlaF -e "$1" "$2" || true', 'sh', word, bench.folder])).toBe('');
  });
});

describe('who gets them', () => {
  const findLogin = (host: string) => async (address: string) =>
    new URL(address).host === host ? { source: 'a test', username: 'kina', password: secret } : undefined;

  test('storage that an upload is sent to, or a blob is read from, never sees them', async () => {
    const storage = await startServer((request, response) => {
      request.resume().once('end', () => response.writeHead(request.method === 'GET' ? 200 : 201).end('bytes'));
    });
    closing.push(storage.stop);
    const asked: (string | undefined)[] = [];
    const server = await startServer((request, response) => {
      asked.push(request.headers.authorization);
      request.resume();
      if (!request.headers.authorization)
        return void response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
      if (request.method === 'POST')
        return void response.writeHead(202, { location: `${storage.url}/upload?x=1` }).end();
      if (request.method === 'GET') return void response.writeHead(307, { location: `${storage.url}/blob` }).end();
      return void response.writeHead(request.method === 'PUT' ? 201 : 404).end();
    });
    closing.push(server.stop);
    const host = server.url.slice('http://'.length);
    const http = { findLogin: findLogin(host) };
    await push(`${host}/r:v1`, await smallImage(store, 'storage', [1000]), http);
    expect(await transport(http).text(`${server.url}/v2/r/blobs/x`)).toBe('bytes');
    expect(storage.requests.length).toBeGreaterThan(1);
    for (const headers of storage.headers) expect(headers.authorization).toBeUndefined();
    expect(asked.some((value) => value?.startsWith('Basic '))).toBe(true);
    // Once it is known that the server wants them, they go along at once.
    expect(asked.filter((value) => value === undefined).length).toBeLessThan(10);
  });

  test('storage that asks for a login does not get the one of the registry', async () => {
    const storage = await startServer((_, response) =>
      response.writeHead(401, { 'www-authenticate': 'Basic realm="give it to me"' }).end(),
    );
    const server = await startServer((_, response) => response.writeHead(307, { location: `${storage.url}/x` }).end());
    closing.push(storage.stop, server.stop);
    const http = transport({ findLogin: findLogin(server.url.slice('http://'.length)) });
    await failure(http.text(`${server.url}/v2/r/blobs/x`));
    for (const headers of storage.headers) expect(headers.authorization).toBeUndefined();
  });

  test('a server that repeats what it was sent does not put a password into an error', async () => {
    const server = await startServer((request, response) => {
      const sent = request.headers.authorization;
      if (!sent) return void response.writeHead(401, { 'www-authenticate': 'Basic realm="r"' }).end();
      if (request.method === 'HEAD') return void response.writeHead(404).end();
      const plain = Buffer.from(sent.slice(6), 'base64').toString();
      response.writeHead(403, { 'content-type': 'text/plain' }).end(`no: ${sent} is ${plain}`);
    });
    closing.push(server.stop);
    const host = server.url.slice('http://'.length);
    const error = await failure(push(`${host}/r:v1`, image, { findLogin: findLogin(host) }));
    const everything = JSON.stringify([error.message, error.details, error.hint, error.stack, String(error.cause)]);
    expect(everything).toContain('server message: no: Basic ***');
    expect(everything).not.toContain(secret);
    expect(everything).not.toContain(Buffer.from(`kina:${secret}`).toString('base64'));
    expect(error.hint).toContain('The login in a test');
  });

  test.each([
    ['the pair of a token server', (sent: string) => `bad credentials: ${sent}`],
    ['a password where the message is cut', (_: string, plain: string) => `${'x'.repeat(290)}${plain}`],
    ['a password in JSON', (_: string, plain: string) => JSON.stringify({ errors: [{ detail: plain }] })],
    ['a password in an address', (_: string, plain: string) => `GET /token?password=${encodeURIComponent(plain)}`],
    ['white space in a password', (_: string, plain: string) => `<${plain}>`],
  ])('a server that repeats %s', async (_, message) => {
    const password = 'planted "secret"  Schlüssel/4711';
    const server = await startServer((request, response) => {
      const sent = request.headers.authorization;
      const challenge = `Bearer realm="${server.url}/token"`;
      if (!sent) return void response.writeHead(401, { 'www-authenticate': challenge }).end();
      const plain = Buffer.from(sent.slice(6), 'base64').toString().replace('kina:', '');
      const body = Buffer.from(message(sent, plain));
      response.writeHead(401, { 'content-type': 'text/plain' });
      // byte by byte: also through the middle of a character
      for (const byte of body) response.write(Buffer.of(byte));
      response.end();
    });
    closing.push(server.stop);
    const host = server.url.slice('http://'.length);
    const http = transport({ findLogin: async () => ({ source: 'a test', username: 'kina', password }) });
    const error = await failure(http.text(`http://${host}/v2/r/blobs/x`));
    const [said = ''] = error.details.filter((line) => line.startsWith('server message: '));
    expect(said).toMatch(/\*{3}|x{290}/);
    for (const part of ['planted', 'lanted', '4711', Buffer.from(`kina:${password}`).toString('base64')])
      expect(said).not.toContain(part);
  });

  test('tokens that expire while blobs travel are replaced, and ask for what is needed', async () => {
    let valid = 0;
    const scopes: string[] = [];
    let used = 0;
    const server = await startServer((request, response) => {
      request.resume();
      const url = new URL(request.url!, 'http://x');
      if (url.pathname === '/token') {
        if (request.headers.authorization !== `Basic ${Buffer.from(`kina:${secret}`).toString('base64')}`)
          return void response.writeHead(401).end();
        scopes.push(url.searchParams.getAll('scope').join(' '));
        return void response.end(JSON.stringify({ token: `t${++valid}`, expires_in: 300 }));
      }
      const revoked = request.headers.authorization === `Bearer t${valid}` && [5, 12].includes(++used);
      if (revoked) valid++;
      if (request.headers.authorization !== `Bearer t${valid}`) {
        const challenge = `Bearer realm="${server.url}/token",service="s",scope="repository:r:pull"`;
        return void response.writeHead(401, { 'www-authenticate': challenge }).end();
      }
      if (request.method === 'POST') return void response.writeHead(202, { location: '/v2/r/blobs/uploads/1' }).end();
      return void request.once('end', () => response.writeHead(request.method === 'PUT' ? 201 : 404).end());
    });
    closing.push(server.stop);
    const host = server.url.slice('http://'.length);
    await push(`${host}/r:v1`, await smallImage(store, 'tokens', [300_000, 2000]), { findLogin: findLogin(host) });
    expect(scopes.length).toBeGreaterThan(2);
    expect(new Set(scopes)).toEqual(new Set(['repository:r:pull,push']));
  });

  test('an identity token is exchanged in the body of a POST, and stands in no address', async () => {
    const forms: string[] = [];
    const server = await startServer((request, response) => {
      const url = new URL(request.url!, 'http://x');
      if (url.pathname === '/token') {
        let form = '';
        request.on('data', (part) => (form += part));
        return void request.once('end', () => {
          forms.push(`${request.method} ${url.search}${form}`);
          response.end(JSON.stringify({ access_token: 'granted' }));
        });
      }
      request.resume();
      if (request.headers.authorization !== 'Bearer granted') {
        const challenge = `Bearer realm="${server.url}/token",service="s",scope="repository:r:pull"`;
        return void response.writeHead(401, { 'www-authenticate': challenge }).end();
      }
      return void request.once('end', () => response.end('open'));
    });
    closing.push(server.stop);
    const findLogin = async () => ({ source: 'a test', refreshToken: secret });
    const http = transport({ findLogin });
    expect(await http.text(`${server.url}/v2/r/blobs/x`)).toBe('open');
    expect(forms).toEqual([
      `POST grant_type=refresh_token&client_id=kina&refresh_token=${secret}&service=s&scope=repository%3Ar%3Apull`,
    ]);
    expect(server.requests.join()).not.toContain(secret);
  });
});
