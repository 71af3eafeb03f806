/** The recipes in `examples/` build, from a synthetic upstream and real Debian packages, and hold what they promise. */
import { createHash, X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { expect, test } from 'vitest';
import { silent } from '../../../src/host/progress.ts';
import { writeOutput } from '../../../src/oci/output/output.ts';
import { storeImage } from '../../../src/oci/store/image.ts';
import type { ImageFile } from '../../support/build.ts';
import { useBuildSite } from '../../support/build-site.ts';
import { projectRoot } from '../../support/command.ts';
import { describeUnless, noDebianMirror } from '../../support/requirements.ts';
import { fakeElf } from '../../support/upstream.ts';

const example = (name: string): string => join(projectRoot, `examples/${name}.yaml`);
const source = 'v1.34.2';

describeUnless(await noDebianMirror(), 'worked examples', () => {
  const site = useBuildSite('examples');

  const names = (files: Map<string, ImageFile>): string[] =>
    [
      ...files
        .get('var/lib/dpkg/status')!
        .data.toString()
        .matchAll(/^Package: (.*)$/gm),
    ].map((m) => m[1]!);
  const lastCertificate = (files: Map<string, ImageFile>): string => {
    const bundle = files.get('etc/ssl/certs/ca-certificates.crt')!.data.toString();
    return new X509Certificate(`-----BEGIN${bundle.split('-----BEGIN').at(-1)}`).subject;
  };

  test('corporate: the CA is in the bundle that Go and OpenSSL read; mirrors, sysctls and proxy are set', async () => {
    const built = await site.workshop.build({ recipe: example('corporate'), source, set: { proxy: 'http://p:1' } });
    const files = await site.workshop.files(built, 'linux/amd64');
    expect(lastCertificate(files)).toContain('CN=Example Corp Root CA');
    expect(files.get('etc/ssl/certs/example-corp.pem')!.target).toBe(
      '/usr/local/share/ca-certificates/example-corp.crt',
    );
    // What OpenSSL looks for in the folder: the subject's hash, as `openssl x509 -subject_hash` has it.
    const hashed = [...files].filter(([p, f]) => /certs\/[0-9a-f]{8}\.\d$/.test(p) && f.target === 'example-corp.pem');
    expect(hashed.length).toBe(1);
    for (const host of ['docker.io', 'registry.k8s.io']) {
      const hosts = files.get(`etc/containerd/certs.d/${host}/hosts.toml`)!.data.toString();
      expect(hosts).toContain(`[host."https://registry.corp.example/v2/${host}"]`);
    }
    expect(files.get('etc/containerd/config.toml')!.data.toString()).toContain('/etc/containerd/certs.d');
    expect(files.get('etc/sysctl.d/70-corporate.conf')!.data.toString()).toContain('tcp_keepalive_time');
    const { config } = (await site.workshop.config(built, 'linux/amd64')) as unknown as { config: { Env: string[] } };
    expect(config.Env).toContain('HTTPS_PROXY=http://p:1');
    // Only what was added is new: the layers below are those of the plain node.
    const plain = await site.workshop.build({ source });
    const digests = plain.platforms[0]!.layers.filter((l) => l.name !== 'system').map((l) => l.diffId);
    expect(built.platforms[0]!.layers.map((l) => l.diffId)).toEqual(expect.arrayContaining(digests));
  });

  test("tools: packages fit the base's, the program is verified, the image will be imported", async () => {
    const nerdctl = await nerdctlArchive('arm64');
    const file = 'nerdctl-2.1.6-linux-arm64.tar.gz';
    site.upstream.intercept = (path, response) => {
      if (!path.startsWith('/github.com/containerd/nerdctl/')) return false;
      return send(response, path.endsWith('SHA256SUMS') ? Buffer.from(`${sha256(nerdctl)}  ${file}\n`) : nerdctl);
    };
    const built = await site.workshop.build({ recipe: example('tools'), source, platforms: ['linux/arm64'] });
    const files = await site.workshop.files(built, 'linux/arm64');
    expect(names(files)).toEqual(expect.arrayContaining(['nfs-common', 'rpcbind', 'socat', 'systemd']));
    expect(files.get('usr/bin/socat')!.layer).toBe('tools');
    expect(files.get('usr/local/bin/nerdctl')!.data.toString()).toContain('nerdctl');
    expect(files.get('etc/passwd')!.data.toString()).toMatch(/^statd:x:/m);
    expect(files.get('kind/images/metrics-server.tar')!.data.toString('latin1')).toContain(
      '"registry.k8s.io/metrics-server/metrics-server:v0.8.0"',
    );
    expect(files.has('etc/systemd/system/sockets.target.wants/rpcbind.socket')).toBe(true);
    const doubled = names(files).filter((name, i, all) => all.indexOf(name) !== i);
    expect(doubled, 'a package of the base chosen a second time').toEqual([]);
  });

  test('own-base: an OCI archive instead of packages, another containerd, and a CA on top of its bundle', async () => {
    const ground = join(site.folder, 'ground.yaml');
    await writeFile(
      ground,
      'name: ground\nextends: node-base\nlayers:\n  - name: node\n    reset: true\n    steps:\n      - users: { users: [{ name: operator, uid: 1000 }] }\n',
    );
    const base = await site.workshop.build({ recipe: ground });
    const dest = join(site.folder, 'base.tar');
    const { store } = site.workshop.tools;
    const common = { store, image: storeImage(store, base.index), reporter: silent, mtime: 0 };
    await writeOutput({ ...common, refs: ['localhost/base:1'], dest, type: 'oci-archive' });

    const recipe = join(site.folder, 'mine.yaml');
    const ca = await readFile(join(projectRoot, 'examples/corporate/ca.crt'));
    await writeFile(join(site.folder, 'ca.crt'), ca);
    await writeFile(
      recipe,
      `name: mine\nextends: ${example('own-base')}\nlayers:\n  - name: mine\n    steps:\n      - file: { path: usr/local/share/ca-certificates/mine.crt, source: ca.crt }\n`,
    );
    const built = await site.workshop.build({ recipe, source, set: { base: dest } });
    const files = await site.workshop.files(built, 'linux/amd64');
    expect(built.platforms[0]!.components.containerd).toBe('2.1.5');
    expect(files.get('usr/local/bin/containerd')!.data.toString()).toContain('containerd 2.1.5');
    // The base's own state is kept: its accounts and its package database.
    expect(files.get('etc/passwd')!.data.toString()).toMatch(/^operator:x:1000:/m);
    expect(names(files)).toContain('systemd');
    expect(files.get('var/lib/dpkg/status')!.layer).toBe('base');
    expect(lastCertificate(files)).toContain('CN=Example Corp Root CA');

    const withUser = join(site.folder, 'user.yaml');
    await writeFile(
      withUser,
      `name: user\nextends: ${example('own-base')}\nlayers:\n  - name: mine\n    steps:\n      - users: { users: [{ name: late, uid: 1001 }] }\n`,
    );
    await expect(site.workshop.build({ recipe: withUser, source, set: { base: dest } })).rejects.toThrow(
      'cannot add the accounts late to the base image of base/from',
    );
  });

  test('debug: what the plain node excludes comes back, and apt has archives, keys and nothing unmet', async () => {
    const built = await site.workshop.build({ recipe: 'debug', source });
    const files = await site.workshop.files(built, 'linux/amd64');
    expect(names(files)).toEqual(expect.arrayContaining(['apt', 'debconf', 'perl-base', 'strace', 'tcpdump']));
    const sources = files.get('etc/apt/sources.list.d/debian.sources')!.data.toString();
    for (const [, keyring] of sources.matchAll(/^Signed-By: \/(.*)$/gm))
      expect(files.has(keyring!), keyring).toBe(true);
    expect(site.workshop.warnings.filter((w) => w.includes('maintainer scripts'))).toEqual([]);
  });

  test('minimal: small, and still an init, a shell and a runtime', async () => {
    const built = await site.workshop.build({ recipe: 'minimal' });
    const files = await site.workshop.files(built, 'linux/amd64');
    for (const path of ['usr/bin/sh', 'usr/sbin/init', 'usr/bin/containerd', 'usr/local/bin/entrypoint'])
      expect(files.has(path), path).toBe(true);
    const size = built.platforms[0]!.layers.reduce((sum, layer) => sum + layer.size, 0);
    expect(size).toBeLessThan(180e6);
  });
});

const sha256 = (data: Buffer): string => createHash('sha256').update(data).digest('hex');

function send(response: ServerResponse, data: Buffer): true {
  response.writeHead(200, { 'content-length': data.length }).end(response.req.method === 'HEAD' ? undefined : data);
  return true;
}

async function nerdctlArchive(architecture: string): Promise<Buffer> {
  const archive = pack();
  archive.entry({ name: 'nerdctl', mode: 0o755 }, fakeElf(architecture, 'nerdctl'));
  archive.entry({ name: 'containerd-rootless.sh', mode: 0o755 }, '#!/bin/sh\n');
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive) parts.push(part as Buffer);
  return gzipSync(Buffer.concat(parts));
}
