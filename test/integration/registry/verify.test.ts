/**
 * `kina verify` against a real registry: an image that was pushed is found sound and is made again elsewhere; one changed
 * byte anywhere in the chain, a foreign document or another recipe is found.
 */
import { cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Lock } from '../../../src/build/lock.ts';
import { Transport } from '../../../src/host/http.ts';
import { parseReference } from '../../../src/oci/reference.ts';
import { attach, referrersOf } from '../../../src/oci/registry/referrers.ts';
import { publishImage } from '../../../src/ops/registry/publish.ts';
import { attachDocuments, provenanceType } from '../../../src/ops/trust/attach.ts';
import { rememberOrigin } from '../../../src/ops/trust/origin.ts';
import { verify } from '../../../src/ops/verify/verify.ts';
import { directNetwork } from '../../../src/session/connection.ts';
import { openWorkshop, type Workshop } from '../../support/build.ts';
import { recipeFolder, smallRecipe, version } from '../../support/kina.ts';
import { startRegistry } from '../../support/registry.ts';
import { describeUnless } from '../../support/requirements.ts';
import { startServer } from '../../support/server.ts';
import { startUpstream, type Upstream } from '../../support/upstream.ts';

const registry = await startRegistry();
const host = registry.skip !== undefined ? '' : registry.host;
const name = `${host}/verify/node:v1`;
const plain = { rebuild: false, lock: undefined, recipe: undefined, trust: undefined };
const again = { ...plain, rebuild: true, recipe: smallRecipe };

describeUnless(registry.skip, 'kina verify', () => {
  let upstream: Upstream;
  /** Where the image was built, and another machine. */
  let maker: Workshop;
  let other: Workshop;
  let digest: string;
  let lock: Lock;
  const transport = new Transport(directNetwork({ environment: process.env, insecureRegistry: [], version: 'test' }));

  beforeAll(async () => {
    upstream = await startUpstream();
    maker = await openWorkshop({ mirror: [upstream.url] });
    other = await openWorkshop({ mirror: [upstream.url] });
    const platforms = ['linux/amd64', 'linux/arm64'];
    const built = await maker.build({ recipe: smallRecipe, source: version, platforms, set: { motd: 'a: b' } });
    lock = built.resolved.lock;
    const { store, reporter } = maker.tools;
    await rememberOrigin(store, lock, built);
    await store.tag('localhost/kina/small:v1', built.index);
    const to = [parseReference(name)];
    const published = await publishImage(built.index, to, { kind: 'zstd' }, { store, reporter, transport });
    digest = published.root.digest;
    const documents = { sbom: true, provenance: true };
    await attachDocuments(published.root, to, documents, { store, transport, version: '0.0.0-test' });
  });
  afterAll(async () => {
    await transport.close();
    await maker?.close();
    await other?.close();
    await upstream?.stop();
    if (registry.skip === undefined) await registry.stop();
  });

  test('elsewhere: digests, provenance and lock agree, nothing is signed, and the lock makes the same digest', async () => {
    const verdict = await verify({ ...other.tools, ...again, image: `docker://${name}` });
    expect(verdict).toMatchObject({
      digest,
      from: 'registry',
      damage: [],
      problems: [],
      signature: 'none',
      lock: 'attached',
      provenance: { kina: '0.0.0-test' },
      rebuilt: { digest, result: 'same' },
    });
    expect(verdict.provenance!.materials).toBeGreaterThan(10);
  });

  test('in the store: the lock of the build is remembered there', async () => {
    const verdict = await verify({ ...maker.tools, ...again, image: 'localhost/kina/small:v1' });
    expect(verdict).toMatchObject({ from: 'store', problems: [], lock: 'recorded', rebuilt: { result: 'same' } });
    expect(verdict.provenance).toBeUndefined();
  });

  test('a lock of other versions is not taken for the one of the image', async () => {
    const foreign = { ...lock, variables: { motd: 'another' } };
    const { problems, rebuilt } = await verify({ ...other.tools, ...again, lock: foreign, image: name });
    expect(problems).toHaveLength(2);
    expect(problems[0]).toMatch(/^linux\/amd64: wrong lock: got sha256:/);
    expect(rebuilt).toBeUndefined();
  });

  test('an image that its lock does not make: the first layer and file are named', async () => {
    // It claims to be built from this lock, but the recipe contains a different file.
    const folder = join(maker.tools.store.root, 'recipe');
    await cp(recipeFolder, folder, { recursive: true });
    const recipe = join(folder, 'small.yaml');
    await writeFile(recipe, (await readFile(recipe, 'utf8')).replace('[/usr/bin/kubelet]', '[/usr/bin/other]'));
    // A lock knows what the recipe says around the steps; one of before that does not, and then the images are compared.
    const known = verify({ ...other.tools, ...again, recipe, image: name });
    await expect(known).rejects.toMatchObject({ code: 'lock', message: expect.stringContaining('disagree') });
    const { settings: _, ...older } = lock;
    const config = await verify({ ...other.tools, ...again, recipe, lock: older, image: name });
    expect(config.rebuilt?.differences).toEqual(
      ['amd64', 'arm64'].map((one) =>
        expect.stringMatching(new RegExp(`^linux/${one}.*config differs in Entrypoint$`)),
      ),
    );
    const { store } = maker.tools;
    const built = await maker.build({ recipe: smallRecipe, source: version, set: { motd: 'a: b' } });
    const [layer] = built.platforms[0]!.layers;
    const bytes = await store.readBytes(layer!.diffId, layer!.size);
    const at = bytes.indexOf('a: b red');
    bytes.write('A: b red', at);
    const evil = await store.writeBytes(bytes);
    const { manifest } = built.platforms[0]!;
    const read = async (of: `sha256:${string}`) => JSON.parse((await store.readBytes(of, 1 << 20)).toString());
    const put = (value: unknown) => store.writeBytes(Buffer.from(JSON.stringify(value)));
    const changed = await read(manifest.digest);
    const settings = await read(changed.config.digest);
    settings.rootfs.diff_ids[0] = evil.digest;
    Object.assign(changed.config, await put(settings));
    Object.assign(changed.layers[0], evil);
    await store.tag('localhost/evil:v1', { mediaType: changed.mediaType, ...(await put(changed)) });
    const one: Lock = { ...lock, platforms: { 'linux/amd64': lock.platforms['linux/amd64']! } };
    const { problems, rebuilt } = await verify({
      ...maker.tools,
      ...again,
      lock: one,
      image: 'localhost/evil:v1',
    });
    expect(problems).toEqual([]);
    expect(rebuilt).toMatchObject({
      result: 'different',
      differences: ['linux/amd64: the layer base differs first in /etc/motd, which differs in content'],
    });
    expect(rebuilt!.digest).toBe(manifest.digest);
  });

  test('one byte changed anywhere in the chain is found, also of what the store has', async () => {
    let victim = '';
    const tampering = await startServer(async (request, response) => {
      const path = request.url ?? '';
      const answer = await fetch(`http://${host}${path}`, { headers: { accept: request.headers.accept ?? '*/*' } });
      const body = Buffer.from(await answer.arrayBuffer());
      if (victim !== '' && path.endsWith(victim)) body[body.length >> 1]! ^= 1;
      response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? '' }).end(body);
    });
    const ref = `docker://${tampering.url.slice(7)}/verify/node@${digest}`;
    expect((await verify({ ...other.tools, ...plain, image: ref })).problems).toEqual([]);
    const index = JSON.parse((await maker.tools.store.readBytes(digest as `sha256:${string}`, 1 << 20)).toString());
    const manifest = JSON.parse((await maker.tools.store.readBytes(index.manifests[1].digest, 1 << 20)).toString());
    const chain = [digest, index.manifests[1].digest, manifest.config.digest];
    for (const part of [...chain, ...manifest.layers.map((layer: { digest: string }) => layer.digest)]) {
      victim = part;
      await expect(verify({ ...other.tools, ...plain, image: ref }), part).rejects.toMatchObject({ code: 'integrity' });
    }
    await tampering.stop();
  });

  test('lists of referrers: in pages, and of registries that know no such list', async () => {
    const entry = (c: string) => ({
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      digest: `sha256:${c.repeat(64)}`,
      size: 1,
    });
    let status = 200;
    const server = await startServer((request, response) => {
      const { pathname, search } = new URL(request.url ?? '', 'http://x');
      if (!pathname.includes('/referrers/')) return void response.writeHead(404).end();
      const link = search === '' ? { link: `<http://elsewhere.example.org${pathname}?n=2>; rel="next"` } : {};
      const manifests = [entry(search === '' ? '1' : '2')];
      response.writeHead(status, link).end(JSON.stringify({ schemaVersion: 2, manifests }));
    });
    const from = parseReference(`${server.url.slice(7)}/verify/node:v1`);
    const digests = async () =>
      (await referrersOf(from, digest as `sha256:${string}`, transport)).map((one) => one.digest.slice(7, 8));
    expect(await digests()).toEqual(['1', '2']);
    for (status of [400, 404, 405, 501]) {
      expect(await digests()).toEqual([]);
      expect(server.requests.at(-1)).toBe(`GET /v2/verify/node/manifests/${digest.replace(':', '-')}`);
    }
    await server.stop();
  });

  test('a statement about other labels, and one that is not about this image, are named', async () => {
    const to = parseReference(`${host}/verify/lies:v1`);
    const { store, reporter } = maker.tools;
    const image = (await store.resolve('localhost/kina/small:v1'))!;
    const { root } = await publishImage(image, [to], 'none', { store, reporter, transport });
    const tools = { store, transport, version: '0.0.0-test' };
    const dependency = [{ uri: 'x', digest: { sha256: 'a' } }];
    const document = Buffer.from(
      JSON.stringify({
        _type: 'https://in-toto.io/Statement/v1',
        subject: [{ name: 'x', digest: { sha256: 'f'.repeat(64) } }],
        predicateType: 'https://slsa.dev/provenance/v1',
        predicate: {
          buildDefinition: {
            buildType: 'kina:node-image/v1',
            externalParameters: { recipe: 'node', kubernetes: version },
            internalParameters: { lock: 'sha256:0', locks: {} },
            resolvedDependencies: dependency,
          },
          runDetails: { builder: { version: { kina: '0.0.0-test' } } },
        },
      }),
    );
    await attachDocuments(root, [to], { sbom: false, provenance: true }, tools);
    await attach(to, { subject: root, type: provenanceType, document, title: 'x' }, transport);
    const { problems } = await verify({ ...other.tools, ...plain, image: `${host}/verify/lies:v1` });
    expect(problems).toContain(`the provenance is not about ${root.digest}`);
    expect(problems).toContain('linux/arm64: recipe does not match: provenance node, image small');
    expect(problems.filter((one) => one.includes('lock does not match: provenance none'))).toHaveLength(2);
  });

  test('without documents there is nothing to disagree, and no lock to rebuild from; other signatures are not believed', async () => {
    const to = parseReference(`${host}/verify/bare:v1`);
    const { store, reporter } = maker.tools;
    const image = (await store.resolve('localhost/kina/small:v1'))!;
    const { root } = await publishImage(image, [to], 'none', { store, reporter, transport });
    const bare = `${host}/verify/bare:v1`;
    expect(await verify({ ...other.tools, ...plain, image: bare })).toMatchObject({
      problems: [],
      lock: undefined,
      signature: 'none',
    });
    await expect(verify({ ...other.tools, ...again, image: bare })).rejects.toMatchObject({ code: 'lock' });
    const type = 'application/vnd.dev.sigstore.bundle.v0.3+json';
    await attach(to, { subject: root, type, document: Buffer.from('{}'), title: 'x' }, transport);
    expect((await verify({ ...other.tools, ...plain, image: bare })).signature).toBe('unchecked');
  });
});
