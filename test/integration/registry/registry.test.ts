/** Pulling from a real registry (with and without tokens), from the mirror of release files, and from servers that lie. */
import { execFile, execFileSync } from 'node:child_process';
import { createHash, createSign, X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Fetcher } from '../../../src/artifacts/fetch.ts';
import type { KinaError } from '../../../src/host/errors.ts';
import { Transport, type TransportOptions } from '../../../src/host/http.ts';
import { silent } from '../../../src/host/progress.ts';
import { platformOf } from '../../../src/oci/platform.ts';
import { resolveImage } from '../../../src/oci/registry/resolve.ts';
import { Store } from '../../../src/oci/store/store.ts';
import { startMirror } from '../../support/mirror.ts';
import { startRegistry } from '../../support/registry.ts';
import { describeUnless } from '../../support/requirements.ts';
import { startServer } from '../../support/server.ts';

const run = promisify(execFile);
const amd64 = platformOf('amd64');
const arm64 = platformOf('arm64');
const folder = mkdtempSync(join(tmpdir(), 'kina-pull-'));
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});
afterAll(() => rmSync(folder, { recursive: true }));

function transport(options: TransportOptions = {}): Transport {
  const made = new Transport({ retryDelay: 5, retries: 1, ...options });
  closing.push(() => made.close());
  return made;
}
async function fetchAll(image: Awaited<ReturnType<typeof resolveImage>>, http: Transport): Promise<string[]> {
  const store = await Store.open(mkdtempSync(join(folder, 'store-')));
  const fetcher = new Fetcher({ store, transport: http, reporter: silent });
  const fetched = await fetcher.fetchAll([image.manifest, image.config, ...image.layers]);
  return fetched.map(({ path }) => path);
}
async function failure(promise: Promise<unknown>): Promise<KinaError> {
  return promise.then(
    () => expect.fail('it should have failed'),
    (error) => error as KinaError,
  );
}

const digestOf = (data: Buffer) => `sha256:${createHash('sha256').update(data).digest('hex')}`;
const oci = (kind: string) => `application/vnd.oci.image.${kind}`;

/** An OCI layout with one two-platform image `v1`, and an attestation entry as buildkit adds them. */
function makeLayout(): string {
  const root = join(folder, 'layout');
  mkdirSync(join(root, 'blobs/sha256'), { recursive: true });
  const put = (data: Buffer, type: string) => {
    const digest = digestOf(data);
    writeFileSync(join(root, 'blobs/sha256', digest.slice(7)), data);
    return { mediaType: type, digest, size: data.length };
  };
  const json = (value: unknown, type: string) => put(Buffer.from(JSON.stringify(value)), type);
  const manifests = ['amd64', 'arm64'].map((architecture) => {
    const tar = Buffer.alloc(10240, architecture); // no real tar: nothing here unpacks it
    const layer = put(gzipSync(tar), oci('layer.v1.tar+gzip'));
    const rootfs = { type: 'layers', diff_ids: [digestOf(tar)] };
    const config = json({ architecture, os: 'linux', config: {}, rootfs }, oci('config.v1+json'));
    const manifest = { schemaVersion: 2, mediaType: oci('manifest.v1+json'), config, layers: [layer] };
    return { ...json(manifest, oci('manifest.v1+json')), platform: { os: 'linux', architecture } };
  });
  const index = json({ schemaVersion: 2, mediaType: oci('index.v1+json'), manifests }, oci('index.v1+json'));
  const names = [{ ...index, annotations: { 'org.opencontainers.image.ref.name': 'v1' } }];
  writeFileSync(join(root, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: names }));
  writeFileSync(join(root, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  return root;
}
async function push(host: string, name: string, ...args: string[]): Promise<void> {
  const target = `docker://${host}/${name}`;
  await run('skopeo', ['copy', '--dest-tls-verify=false', ...args, `oci:${join(folder, 'layout')}:v1`, target]);
}
async function rawDigest(reference: string): Promise<string> {
  const args = ['inspect', '--raw', '--tls-verify=false', `docker://${reference}`];
  return digestOf((await run('skopeo', args, { encoding: 'buffer' })).stdout);
}
beforeAll(() => {
  makeLayout();
});

const registry = await startRegistry();
describeUnless(registry.skip, 'a real registry', () => {
  const host = registry.skip !== undefined ? '' : registry.host;
  afterAll(() => (registry.skip !== undefined ? undefined : registry.stop()));

  test.each([
    ['OCI', []],
    ['Docker schema 2', ['--format', 'v2s2']],
  ])('%s: each platform of an index, every part of it, as skopeo sees it', async (kind, format) => {
    const name = `multi/${kind === 'OCI' ? 'oci' : 'docker'}:v1`;
    await push(host, name, '--all', ...format);
    for (const platform of [amd64, arm64]) {
      const http = transport();
      const image = await resolveImage(`${host}/${name}`, platform, http);
      expect(image.digest).toBe(await rawDigest(`${host}/${name}`));
      expect(image.manifest.digest).not.toBe(image.digest);
      const [manifest, config] = await fetchAll(image, http);
      expect(JSON.parse(readFileSync(manifest!, 'utf8'))).toHaveProperty('config.digest', image.config.digest);
      expect(JSON.parse(readFileSync(config!, 'utf8'))).toHaveProperty('architecture', platform.architecture);
    }
  });

  test('a single manifest is believed only when its config is for the platform', async () => {
    await push(host, 'single:v1', '--override-arch', 'amd64');
    const image = await resolveImage(`${host}/single:v1`, amd64, transport());
    expect(image.manifest.digest).toBe(image.digest);
    const error = await failure(resolveImage(`${host}/single:v1`, arm64, transport()));
    expect(error).toMatchObject({ code: 'platform', details: ['it is for linux/amd64'] });
  });

  test('by digest, and a tag beside it does not matter', async () => {
    await push(host, 'pinned:v1', '--all');
    const digest = await rawDigest(`${host}/pinned:v1`);
    const image = await resolveImage(`${host}/pinned:gone@${digest}`, arm64, transport());
    expect(image).toMatchObject({ digest, config: { url: expect.stringContaining('/v2/pinned/blobs/sha256:') } });
  });

  test('what the registry does not have is a definite "not found"', async () => {
    for (const name of ['nothing/here:v1', 'single:v9'])
      expect((await failure(resolveImage(`${host}/${name}`, amd64, transport()))).code).toBe('not-found');
  });
});

/** A token server that signs as the registry's `rootcertbundle` expects. Returns undefined without openssl. */
async function startTokens() {
  const key = join(folder, 'key.pem');
  const cert = join(folder, 'cert.pem');
  try {
    const args = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=tokens', '-keyout', key, '-out', cert];
    execFileSync('openssl', args, { stdio: 'ignore' });
  } catch {
    return undefined;
  }
  const x5c = [new X509Certificate(readFileSync(cert)).raw.toString('base64')];
  const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const server = await startServer((request, response) => {
    const query = new URL(request.url!, 'http://x').searchParams;
    const access = query.getAll('scope').map((scope) => {
      const [type, name, actions] = scope.split(':');
      return { type, name, actions: actions!.split(',') };
    });
    const now = Math.floor(Date.now() / 1000);
    const claims = {
      iss: 'kina',
      sub: '',
      aud: query.get('service'),
      exp: now + 300,
      nbf: now - 5,
      iat: now,
      jti: '1',
      access,
    };
    const text = `${encode({ typ: 'JWT', alg: 'RS256', x5c })}.${encode(claims)}`;
    const signature = createSign('RSA-SHA256').update(text).sign(readFileSync(key)).toString('base64url');
    response.end(JSON.stringify({ token: `${text}.${signature}`, expires_in: 300 }));
  });
  const auth = {
    token: { realm: `${server.url}/token`, service: 'registry.test', issuer: 'kina', rootcertbundle: cert },
  };
  return { server, auth: JSON.stringify(auth) };
}

describeUnless(registry.skip, 'a registry that wants tokens', () => {
  test('one anonymous token serves all parts of an image', async (context) => {
    const tokens = await startTokens();
    if (!tokens) return context.skip('openssl is not installed');
    const guarded = await startRegistry({ auth: tokens.auth });
    if (guarded.skip !== undefined) return context.skip(guarded.skip);
    closing.push(guarded.stop, tokens.server.stop);
    await push(guarded.host, 'a/b:v1', '--all');
    const before = tokens.server.requests.length;
    const http = transport();
    await fetchAll(await resolveImage(`${guarded.host}/a/b:v1`, arm64, http), http);
    const asked = tokens.server.requests.slice(before);
    expect(asked).toEqual(['GET /token?service=registry.test&scope=repository%3Aa%2Fb%3Apull']);
  });
});

const mirror = await startMirror();
describeUnless(mirror.skip, 'through a mirror', () => {
  const mirrors = mirror.skip !== undefined ? [] : [mirror.url];
  afterAll(() => (mirror.skip !== undefined ? undefined : mirror.stop()));

  test.each(['registry.k8s.io/pause:3.2', 'k8s.gcr.io/etcd:3.4.13-0', 'busybox:1.35'])('%s', async (name) => {
    for (const platform of [amd64, arm64]) {
      const http = transport({ mirrors });
      const image = await resolveImage(name, platform, http);
      expect(image.manifest.url).toMatch(/^https:\/\/(registry\.k8s\.io|k8s\.gcr\.io|registry-1\.docker\.io)\/v2\//);
      const paths = await fetchAll(image, http);
      expect(JSON.parse(readFileSync(paths[1]!, 'utf8'))).toHaveProperty('architecture', platform.architecture);
    }
  });

  test('an image that the mirror lacks is not looked for elsewhere', async () => {
    const error = await failure(resolveImage('registry.k8s.io/coredns/coredns:v1.7.0', amd64, transport({ mirrors })));
    expect(error.code).toBe('not-found');
    expect(error.details.join()).toContain(`${mirrors[0]}/registry.k8s.io/v2/coredns/coredns/manifests/v1.7.0`);
  });
});

describe('registries that lie', () => {
  const manifest = (extra: object) => ({
    schemaVersion: 2,
    config: { mediaType: oci('config.v1+json'), digest: digestOf(Buffer.from('{}')), size: 2 },
    layers: [],
    ...extra,
  });
  async function pull(body: unknown, headers: Record<string, string> = {}, name = 'x:v1') {
    const server = await startServer((_, response) => response.writeHead(200, headers).end(JSON.stringify(body)));
    closing.push(server.stop);
    return resolveImage(`${server.url.slice('http://'.length)}/${name}`, amd64, transport());
  }

  test('a document that is not what its digest says', async () => {
    const digest = `sha256:${'0'.repeat(64)}`;
    expect((await failure(pull(manifest({}), { 'docker-content-digest': digest }))).code).toBe('integrity');
    expect((await failure(pull(manifest({}), {}, `x@${digest}`))).code).toBe('integrity');
  });
  test('an index that is also a manifest (CVE-2021-41190)', async () => {
    expect((await failure(pull(manifest({ manifests: [] })))).message).toContain('at once');
  });
  test('schema 1 says what to do', async () => {
    const type = 'application/vnd.docker.distribution.manifest.v1+prettyjws';
    const error = await failure(pull({ schemaVersion: 1 }, { 'content-type': type }));
    expect(error.hint).toContain('schema 1');
  });
  test('a chart is not an image', async () => {
    const layers = [
      { mediaType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip', digest: digestOf(Buffer.from('x')), size: 1 },
    ];
    expect((await failure(pull(manifest({ layers })))).code).toBe('archive');
  });
  test('attestations are not platforms', async () => {
    const entry = { mediaType: oci('manifest.v1+json'), digest: `sha256:${'1'.repeat(64)}`, size: 1 };
    const manifests = [
      { ...entry, platform: { os: 'unknown', architecture: 'unknown' } },
      { ...entry, platform: { os: 'linux', architecture: 'arm', variant: 'v7' } },
    ];
    const error = await failure(pull({ schemaVersion: 2, manifests }));
    expect(error).toMatchObject({ code: 'platform', details: ['it is for linux/arm/v7'] });
  });
  test('a login page is not a registry', async () => {
    const server = await startServer((_, response) => response.end('<html>please log in</html>'));
    closing.push(server.stop);
    const error = await failure(resolveImage(`${server.url.slice(7)}/x`, amd64, transport()));
    expect(error.message).toContain('is not JSON');
  });
  test('a token server may not be plain http for a registry of https, nor answer nonsense', async () => {
    const server = await startServer((request, response) => {
      if (request.url?.startsWith('/token')) return response.end('{"token":"a\\nb"}');
      const realm = `Basic realm="x", Bearer realm="http://${request.headers.host}/token",service="s"`;
      return response.writeHead(401, { 'www-authenticate': realm }).end();
    });
    closing.push(server.stop);
    const error = await failure(resolveImage(`${server.url.slice(7)}/x`, amd64, transport()));
    expect(error.message).toContain('did not return a token');
  });
});
