/** What actions compute before they talk to a node. */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { fitNetwork } from '../../../src/cluster/actions/addons.ts';
import { bootstrapToken, caCertHash } from '../../../src/cluster/actions/join.ts';
import { projectRoot } from '../../support/command.ts';
import { describeWith } from '../../support/requirements.ts';
import { kind, load } from './config-support.ts';

type Context = Parameters<typeof fitNetwork>[0];
const named = (name: string, role: string) => ({ name, role }) as Context['nodes'][number];
const context = (lines: string, balanced = false): Context => ({
  cluster: load(kind(lines)),
  nodes: [named('c-worker', 'worker'), named('c-control-plane', 'control-plane')],
  loadBalancer: balanced ? named('c-external-load-balancer', 'external-load-balancer') : undefined,
});

describe('the manifest of the pod network', () => {
  const own = readFileSync(join(projectRoot, 'recipes/files/manifests/default-cni.yaml'), 'utf8');
  const environment = (text: string) =>
    parseAllDocuments(text)
      .filter((document) => document.get('kind') === 'DaemonSet')
      .flatMap((document) => document.toJS().spec.template.spec.containers)
      .flatMap((container) => container.env ?? []);

  test("kina's own gets the endpoint of the only control plane, wherever it stands in the list", () => {
    expect(environment(fitNetwork(context('name: c'), own))).toContainEqual({
      name: 'CONTROL_PLANE_ENDPOINT',
      value: 'c-control-plane:6443',
    });
  });

  test('or that of the load balancer; nothing else of it changes', () => {
    const fitted = fitNetwork(context('name: c', true), own);
    expect(environment(fitted)).toContainEqual({
      name: 'CONTROL_PLANE_ENDPOINT',
      value: 'c-external-load-balancer:6443',
    });
    const kinds = (text: string) => parseAllDocuments(text).map((document) => document.get('kind'));
    expect(kinds(fitted)).toEqual(kinds(own));
  });

  test('a template of kind gets all pod subnets, and is a template only where it says so', () => {
    const text = '# would you kindly template this file\nsubnet: "{{ .PodSubnet }}" # {{.PodSubnet}}\n';
    expect(fitNetwork(context('networking: {ipFamily: dual}'), text)).toContain(
      'subnet: "10.244.0.0/16,fd00:10:244::/56" # 10.244.0.0/16,fd00:10:244::/56',
    );
    const plain = 'subnet: "{{ .PodSubnet }}"\n';
    expect(fitNetwork(context('name: c'), plain)).toBe(plain);
  });

  test('variables that are there stay, containers without any get some, other kinds get none', () => {
    const text = `# would you kindly patch this file
kind: DaemonSet
spec: {template: {spec: {containers: [{name: a, env: [{name: X, value: y}]}, {name: b}]}}}
---
kind: Deployment
spec: {template: {spec: {containers: [{name: c}]}}}
`;
    const documents = parseAllDocuments(fitNetwork(context('name: c'), text)).map((document) => document.toJS());
    const endpoint = { name: 'CONTROL_PLANE_ENDPOINT', value: 'c-control-plane:6443' };
    expect(documents[0].spec.template.spec.containers).toEqual([
      { name: 'a', env: [{ name: 'X', value: 'y' }, endpoint] },
      { name: 'b', env: [endpoint] },
    ]);
    expect(documents[1].spec.template.spec.containers).toEqual([{ name: 'c' }]);
  });
});

describeWith('the hash of a CA', ['openssl'], () => {
  // kubeadm's documentation gives this pipeline to compute the hash by hand
  test.each([
    ['RSA', ['rsa:2048']],
    ['EC', ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1']],
  ])("is openssl's for %s keys", (_kind, key) => {
    const folder = mkdtempSync(join(tmpdir(), 'kina-ca-'));
    try {
      const [file, secret] = [join(folder, 'ca.crt'), join(folder, 'ca.key')];
      const request = ['req', '-x509', '-nodes', '-newkey', ...key, '-keyout', secret, '-out', file, '-subj', '/CN=k'];
      execFileSync('openssl', request, { stdio: 'ignore' });
      const pipeline = 'openssl x509 -pubkey -noout -in "$1" | openssl pkey -pubin -outform der | openssl dgst -sha256';
      const answer = execFileSync('sh', ['-c', pipeline, 'sh', file], { encoding: 'utf8' });
      expect(caCertHash(readFileSync(file, 'utf8'))).toBe(`sha256:${/[0-9a-f]{64}/.exec(answer)?.[0]}`);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

test('bootstrap tokens have the form that kubeadm insists on, and all their bits', () => {
  const tokens = Array.from({ length: 200 }, () => bootstrapToken(randomBytes));
  expect(tokens.every((token) => /^[a-z0-9]{6}\.[a-z0-9]{16}$/.test(token))).toBe(true);
  expect(new Set(tokens).size).toBe(200);
  expect(new Set(tokens.join('').replaceAll('.', '')).size).toBe(32);
});
