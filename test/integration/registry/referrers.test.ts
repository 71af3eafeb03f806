/** `kina copy` takes along what stands beside an image, between registries and layouts; other people's clients find it there. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Digest } from '../../../src/oci/descriptor.ts';
import { parseReference } from '../../../src/oci/reference.ts';
import { attach, readReferrer, referrersOf } from '../../../src/oci/registry/referrers.ts';
import { copyImage } from '../../../src/ops/registry/copy.ts';
import { parseLocation } from '../../../src/ops/registry/location.ts';
import { attachSignature } from '../../../src/ops/trust/attach-signature.ts';
import { keySigner } from '../../../src/ops/trust/sign.ts';
import { check } from '../../support/command.ts';
import { startProxy } from '../../support/proxy.ts';
import { type Published, publishSigned } from '../../support/published.ts';
import { startRegistry } from '../../support/registry.ts';
import { describeUnless, describeWith } from '../../support/requirements.ts';

const registry = await startRegistry();
const second = await startRegistry();
const host = registry.skip !== undefined ? '' : registry.host;
const there = second.skip !== undefined ? '' : second.host;
const ref = `${host}/copy/node:v1`;

describeUnless(registry.skip, 'kina copy and referrers', () => {
  let image: Published;
  let folder: string;
  /** A signature of an SBOM: it refers to what refers to the image. */
  let nested: Digest;
  let sbom: Digest;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kina-referrers-'));
    image = await publishSigned(ref);
    const from = parseReference(ref);
    const manifests = JSON.parse(await (await fetchManifest(ref, image.root.digest)).text()).manifests;
    const [entry] = await referrersOf(from, manifests[0].digest, image.transport);
    const { entry: document } = await readReferrer(from, entry!, manifests[0].digest, image.transport);
    sbom = document.digest;
    nested = await attachSignature(from, document, [], keySigner(image.privateKey), { transport: image.transport });
  });
  afterAll(async () => {
    await image?.close();
    await rm(folder, { recursive: true, force: true });
    for (const one of [registry, second]) if (one.skip === undefined) await one.stop();
  });

  const fetchManifest = (of: string, digest: string) => {
    const { registry: at, repository } = parseReference(of);
    const accept = 'application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json';
    return fetch(`http://${at}/v2/${repository}/manifests/${digest}`, { headers: { accept } });
  };
  const copy = (from: string, to: string, alone = false) =>
    copyImage({
      ...image.elsewhere.tools,
      uploads: image.transport,
      from: parseLocation(from),
      to: parseLocation(to),
      mtime: 0,
      alone,
    });
  const whole = { damage: [], problems: [], signature: 'verified', sboms: 2, provenance: { signed: true } };

  test('from registry to registry: the copy verifies as the image does, also what refers to referrers', async () => {
    const to = `${there}/copies/node:v1`;
    expect(await copy(ref, to)).toMatchObject({ root: { digest: image.root.digest }, referrers: 6 });
    expect(await image.verify(to)).toMatchObject(whole);
    const beside = await referrersOf(parseReference(to), sbom, image.transport);
    expect(beside.map(({ digest }) => digest)).toEqual([nested]);
    // Once more: nothing travels, nothing is listed twice.
    expect((await copy(ref, to)).pushed).toMatchObject({ uploaded: 0, manifests: 0 });
    expect(await referrersOf(parseReference(to), sbom, image.transport)).toEqual(beside);
  });

  test('through a layout and back', async () => {
    const layout = `oci:${join(folder, 'layout')}`;
    expect((await copy(ref, `${layout}:v1`)).referrers).toBe(6);
    const to = `${there}/back/node:v1`;
    // Without a name too: what stands beside is not taken for more images.
    expect(await copy(layout, to)).toMatchObject({ root: { digest: image.root.digest }, referrers: 6 });
    expect(await image.verify(to)).toMatchObject(whole);
  });

  test('not when it was not asked for, and not into archives', async () => {
    const to = `${there}/alone/node:v1`;
    expect((await copy(ref, to, true)).referrers).toBe(0);
    expect(await image.verify(to)).toMatchObject({ signature: 'none', sboms: 0, provenance: undefined });
    const archive = join(folder, 'node.tar');
    expect((await copy(ref, `oci-archive:${archive}:v1`)).referrers).toBe(0);
    // skopeo refuses an archive of several images that are not named.
    await check(['skopeo', 'inspect', '--raw', `oci-archive:${archive}`]);
  });

  test('a registry that lists referrers by itself gets no list', async () => {
    const lists = new Map<string, object[]>();
    const proxy = await startProxy(there, (method, path) => {
      const subject = /\/referrers\/(sha256:[0-9a-f]+)$/.exec(path)?.[1];
      if (method !== 'GET' || subject === undefined) return undefined;
      return { status: 200, body: JSON.stringify({ schemaVersion: 2, manifests: lists.get(subject) ?? [] }) };
    });
    const from = parseReference(ref);
    const subjects = [image.root.digest, sbom];
    for (const { digest } of JSON.parse(await (await fetchManifest(ref, image.root.digest)).text()).manifests)
      subjects.push(digest);
    for (const one of subjects) lists.set(one, await referrersOf(from, one, image.transport));
    expect((await copy(ref, `${proxy.host}/lists/node:v1`)).referrers).toBe(6);
    await proxy.stop();
    expect(proxy.requests.filter((request) => /^PUT .*manifests\/sha256-/.test(request))).toEqual([]);
  });

  test('what is only listed, or about another image, is left out with a warning', async () => {
    const lies = `${host}/lies/node:v1`;
    await copy(ref, lies, true);
    const other = `${host}/lies/other:v1`;
    await copy(ref, other, true);
    const foreign = await attach(
      parseReference(lies),
      { subject: { ...image.root, digest: sbom }, type: 'application/x', document: Buffer.from('x'), title: 'x' },
      image.transport,
    );
    const gone = { ...foreign, digest: `sha256:${'0'.repeat(64)}` };
    const index = {
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.index.v1+json',
      manifests: [foreign],
    };
    const put = await fetch(`http://${host}/v2/lies/node/manifests/${image.root.digest.replace(':', '-')}`, {
      method: 'PUT',
      headers: { 'content-type': index.mediaType },
      body: JSON.stringify(index),
    });
    expect(put.status).toBe(201);
    const proxy = await startProxy(host, (method, path) =>
      method === 'GET' && path.endsWith(`/referrers/${image.root.digest}`)
        ? { status: 200, body: JSON.stringify({ schemaVersion: 2, manifests: [foreign, gone] }) }
        : undefined,
    );
    image.elsewhere.warnings.length = 0;
    expect((await copy(`${proxy.host}/lies/node:v1`, `${there}/lies/copy:v1`)).referrers).toBe(0);
    await proxy.stop();
    expect(image.elsewhere.warnings.sort()).toEqual([
      expect.stringContaining('sha256:00000'),
      expect.stringContaining('has a different subject'),
    ]);
  });

  describeWith('oras', ['oras'], () => {
    test('finds them in the copied layout and in the registry', async () => {
      const path = join(folder, 'for-oras');
      await copy(ref, `oci:${path}:v1`);
      const layout = ['oras', 'discover', '--format', 'json', '--oci-layout', `${path}:v1`];
      const types = (text: string) => new Set([...text.matchAll(/"artifactType": "([^"]+)"/g)].map(([, type]) => type));
      const found = types(await check(layout));
      expect(found).toContain('application/vnd.dev.sigstore.bundle.v0.3+json');
      expect(found).toContain('application/vnd.in-toto+json');
      expect(types(await check(['oras', 'discover', '--format', 'json', '--plain-http', ref]))).toEqual(found);
      expect(JSON.parse(await readFile(join(path, 'index.json'), 'utf8')).manifests).toHaveLength(7);
    });
  });
});
