/**
 * The documents as kubeadm v1.20.2 itself understands them: it parses strictly, and names what it does not know on stderr.
 * `config migrate` reads each kind of document, and a certificate shows that the names arrive where they should.
 */
import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { chmod, copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { IpFamily } from '../../../src/cluster/config/cluster.ts';
import { mirroredVersion, releaseFile } from '../../support/mirror.ts';
import { describeUnless, missing } from '../../support/requirements.ts';
import { cluster, documents, examples, families, type Shape, shapes } from './kubeadm-support.ts';

const version = mirroredVersion;
const unavailable =
  missing(['release files']) ??
  (process.arch === 'x64' && process.platform === 'linux' ? undefined : 'kubeadm for linux/amd64 does not run here');

describeUnless(unavailable, `kubeadm ${version} itself`, () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kina-kubeadm-'));
    await copyFile(releaseFile(`dl.k8s.io/${version}/bin/linux/amd64/kubeadm`), join(folder, 'kubeadm'));
    await chmod(join(folder, 'kubeadm'), 0o755);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  async function kubeadm(text: string, ...argv: string[]): Promise<{ stdout: string; stderr: string }> {
    const config = join(folder, `${Math.random().toString(36).slice(2)}.yaml`);
    await writeFile(config, text);
    return promisify(execFile)(
      join(folder, 'kubeadm'),
      argv.map((word) => (word === 'CONFIG' ? config : word)),
    );
  }

  const cases = (Object.keys(shapes) as Shape[]).flatMap((shape) => families.map((family) => [shape, family] as const));
  test.each(cases)(
    '%s, %s: every document is understood, nothing in it is unknown',
    async (shape, family: IpFamily) => {
      const from = cluster(shape, family);
      for (const node of examples(from)) {
        const text = documents(from, version, node);
        const { stdout, stderr } = await kubeadm(text, 'config', 'images', 'list', '--config', 'CONFIG');
        expect(stdout).toContain(`k8s.gcr.io/kube-apiserver:${version}\n`);
        // advice about a port that is kubelet's own affair
        expect(stderr.replace(/^.*The recommended value for "healthzBindAddress".*\n/gm, '')).toBe('');
        const joining = text.split('---\n').find((document) => document.includes('kind: JoinConfiguration'))!;
        const result = join(folder, 'migrated.yaml');
        const migrated = await kubeadm(joining, 'config', 'migrate', '--old-config', 'CONFIG', '--new-config', result);
        expect(migrated.stderr).toBe('');
        expect(await readFile(result, 'utf8')).toContain('kind: JoinConfiguration');
      }
    },
  );

  test('an unknown field would have been noticed', async () => {
    const kinds = ['ClusterConfiguration', 'InitConfiguration', 'KubeletConfiguration', 'KubeProxyConfiguration'];
    const patches = kinds.map((kind) => `"{kind: ${kind}, nonsense${kind}: 1}"`);
    const from = cluster('single', 'ipv4', `kubeadmConfigPatches: [${patches}]`);
    const { stderr } = await kubeadm(documents(from, version), 'config', 'images', 'list', '--config', 'CONFIG');
    for (const kind of kinds) expect(stderr).toContain(`unknown field "nonsense${kind}"`);
  });

  test("the API server's certificate has every name by which it is called", async () => {
    const pki = join(folder, 'pki');
    const patch = `kubeadmConfigPatches: ["{kind: ClusterConfiguration, certificatesDir: ${pki}, apiServer: {certSANs: [api.example]}}"]`;
    const from = cluster('ha', 'dual', patch);
    const text = documents(from, version, undefined, { certNames: ['192.0.2.7'] });
    await kubeadm(text, 'init', 'phase', 'certs', 'ca', '--config', 'CONFIG');
    await kubeadm(text, 'init', 'phase', 'certs', 'apiserver', '--config', 'CONFIG');
    const certificate = new X509Certificate(await readFile(join(pki, 'apiserver.crt')));
    for (const name of [
      'localhost',
      'api.example',
      'c-control-plane',
      'c-external-load-balancer',
      'kubernetes.default.svc',
    ])
      expect(certificate.checkHost(name), name).toBe(name);
    for (const address of ['127.0.0.1', '192.0.2.7', '10.89.0.2', '10.96.0.1'])
      expect(certificate.checkIP(address), address).toBe(address);
  });
});
