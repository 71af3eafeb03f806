import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { versionFacts, versionTable } from '../../../src/build/versions.ts';
import { kubeadmApi } from '../../../src/cluster/kubeadm/api.ts';
import { checkPatches, kubeadmFlags } from '../../../src/cluster/kubeadm/documents.ts';
import { kina, load, problems } from './config-support.ts';
import { cluster, documents } from './kubeadm-support.ts';

/** One kind of document of the first node. */
function document(text: string, kind: string): Record<string, unknown> {
  const found = (parseAllDocuments(text) as { toJS(): Record<string, unknown> }[])
    .map((each) => each.toJS())
    .find((each) => each.kind === kind);
  if (!found) throw new Error(`no ${kind}`);
  return found;
}

const indent = (text: string) => text.replace(/^/gm, '    ');
const patched = (...patches: string[]) =>
  cluster('single', 'ipv4', `kubeadmConfigPatches:\n${patches.map((patch) => `- |\n${indent(patch)}\n`).join('')}`);
const edited = (target: string, patch: string) =>
  cluster('single', 'ipv4', `kubeadmConfigPatchesJSON6902:\n- ${target}\n  patch: |\n${indent(patch)}`);

describe('the kubeadm API of a version', () => {
  test('is the one in the version table, from the first patch to the last', async () => {
    for (const row of await versionTable())
      for (const version of [`v${row.kubernetes}.0`, row.latest])
        expect(kubeadmApi(version), version).toBe((await versionFacts(version)).kubeadmApi);
  });
  test('of a pre-release is that of its release', () => {
    expect(kubeadmApi('v1.31.0-alpha.1')).toBe('v1beta4');
    expect(kubeadmApi('v1.22.0-rc.0+build')).toBe('v1beta3');
  });

  test.each([
    ['v1.33.0', 'kubeadm.k8s.io/v1beta3', 'v1beta3'],
    ['v1.22.0', 'kubeadm.k8s.io/v1beta2', 'v1beta2'],
    ['v1.37.0', 'kubeadm.k8s.io/v1beta4', 'v1beta4'],
  ])("%s: a patch that names %s gets it, as kind's users expect", (version, apiVersion, api) => {
    const text = documents(
      patched(`kind: InitConfiguration\napiVersion: ${apiVersion}\npatches: {directory: /p}`),
      version,
    );
    expect(document(text, 'InitConfiguration')).toMatchObject({
      apiVersion: `kubeadm.k8s.io/${api}`,
      patches: { directory: '/p' },
    });
  });

  test('a field that v1beta4 does not have asks for an older one, while there is one', () => {
    const from = patched('kind: ClusterConfiguration\napiServer: {timeoutForControlPlane: 8m}');
    expect(document(documents(from, 'v1.35.0'), 'ClusterConfiguration')).toMatchObject({
      apiVersion: 'kubeadm.k8s.io/v1beta3',
      apiServer: { timeoutForControlPlane: '8m' },
    });
    expect(problems(() => checkPatches(from, ['v1.36.0']))[0]).toMatch(/timeouts\.controlPlaneComponentHealthCheck/);
  });
});

describe('merge patches', () => {
  test.each(['v1.20.2', 'v1.30.0', 'v1.37.0'])('%s: arguments in either form, by name; null removes', (version) => {
    const forms = [
      'extraArgs: {v: 4, enable-hostpath-provisioner: null, on: yes}',
      'extraArgs: [{name: v, value: "4"}, {name: enable-hostpath-provisioner, value: null}, {name: "on", value: "true"}]',
    ];
    for (const form of forms) {
      const text = documents(patched(`kind: ClusterConfiguration\ncontrollerManager:\n  ${form}`), version);
      const { controllerManager } = document(text, 'ClusterConfiguration') as { controllerManager: unknown };
      expect(controllerManager).toEqual({
        extraArgs:
          version === 'v1.37.0'
            ? [
                { name: 'v', value: '4' },
                { name: 'on', value: 'true' },
              ]
            : { v: '4', on: 'true' },
      });
    }
  });

  test('certificate names are added, not replaced, and once', () => {
    const text = documents(
      patched('kind: ClusterConfiguration\napiServer: {certSANs: [a.example, localhost]}'),
      'v1.34.0',
    );
    expect(document(text, 'ClusterConfiguration').apiServer).toEqual({
      certSANs: ['localhost', '127.0.0.1', 'c-control-plane', 'a.example'],
    });
  });

  test("the node's come after the cluster's", () => {
    const from = load(
      kina(`name: c
kubeadmConfigPatches: ["{kind: KubeletConfiguration, maxPods: 1, podsPerCore: 1}"]
nodes:
- kubeadmConfigPatches: ["{kind: KubeletConfiguration, maxPods: 2}"]
- role: worker`),
    );
    const [first, second] = from.nodes.map((node) =>
      document(documents(from, 'v1.34.0', node), 'KubeletConfiguration'),
    );
    expect(first).toMatchObject({ maxPods: 2, podsPerCore: 1 });
    expect(second).toMatchObject({ maxPods: 1, podsPerCore: 1 });
  });

  test('several documents in one patch', () => {
    const text = documents(
      patched('kind: KubeletConfiguration\nmaxPods: 9\n---\nkind: KubeProxyConfiguration\nmode: ipvs'),
      'v1.34.0',
    );
    expect(document(text, 'KubeletConfiguration').maxPods).toBe(9);
    expect(document(text, 'KubeProxyConfiguration').mode).toBe('ipvs');
  });

  test('a text that YAML 1.1 would take for a boolean stays one for Go', () => {
    const text = documents(
      patched('kind: InitConfiguration\nnodeRegistration: {kubeletExtraArgs: {a: "yes"}}'),
      'v1.30.0',
    );
    expect(text).toContain('a: "yes"\n');
  });
});

describe('JSON patches', () => {
  test('as in the documentation of kind, with a version that is not the newest', () => {
    const from = edited(
      'group: kubeadm.k8s.io\n  version: v1beta3\n  kind: ClusterConfiguration',
      '- op: add\n  path: /apiServer/certSANs/-\n  value: my-hostname',
    );
    for (const version of ['v1.22.0', 'v1.34.0']) expect(documents(from, version)).toContain('    - my-hostname\n');
    expect(problems(() => checkPatches(from, ['v1.36.0']))).toEqual([
      'c.yaml:11:5: the patch is for ClusterConfiguration kubeadm.k8s.io/v1beta3, but this Kubernetes version uses kubeadm.k8s.io/v1beta4; remove apiVersion from the patch',
    ]);
  });

  test.each(['v1.30.0', 'v1.37.0'])(
    '%s: pointers into arguments mean a mapping by name and a list by index',
    (version) => {
      const byName = '[{"op": "add", "path": "/nodeRegistration/kubeletExtraArgs/v", "value": "5"}]';
      const byIndex = '- {op: add, path: /nodeRegistration/kubeletExtraArgs/-, value: {name: v, value: "5"}}';
      for (const patch of [byName, byIndex]) {
        const text = documents(edited('kind: InitConfiguration', patch), version);
        const { nodeRegistration } = document(text, 'InitConfiguration') as {
          nodeRegistration: { kubeletExtraArgs: object };
        };
        if (version === 'v1.37.0') expect(nodeRegistration.kubeletExtraArgs).toContainEqual({ name: 'v', value: '5' });
        else expect(nodeRegistration.kubeletExtraArgs).toMatchObject({ v: '5' });
      }
    },
  );
});

describe('patches that do not fit are errors with their place', () => {
  test.each([
    [
      'a document that is not written',
      cluster(
        'single',
        'ipv4',
        'networking: {kubeProxyMode: none}\nkubeadmConfigPatches: ["{kind: KubeProxyConfiguration, mode: ipvs}"]',
      ),
      'c.yaml:6:24: the patch has no effect: this cluster has no KubeProxyConfiguration',
    ],
    [
      'another version',
      patched('kind: KubeletConfiguration\napiVersion: kubelet.config.k8s.io/v1'),
      /^c\.yaml:8:5: the patch is for KubeletConfiguration kubelet\.config\.k8s\.io\/v1, but .* uses kubelet\.config\.k8s\.io\/v1beta1/,
    ],
    [
      'no such place',
      edited('kind: ClusterConfiguration', '- {op: remove, path: /nothing}'),
      'c.yaml:9:5: the patch of ClusterConfiguration cannot be applied: operation 1 (remove "/nothing"): path not found',
    ],
    [
      'a different kind afterwards',
      edited('kind: ClusterConfiguration', '- {op: replace, path: /kind, value: Pod}'),
      /cannot be applied: a patch cannot change kind or apiVersion$/,
    ],
    [
      'arguments that are neither form',
      patched('kind: ClusterConfiguration\nscheduler: {extraArgs: [v=4]}'),
      /cannot be applied: each argument in a list must have a name and a value$/,
    ],
    [
      'a Kubernetes without nftables',
      cluster('single', 'ipv4', 'networking: {kubeProxyMode: nftables}'),
      'kubeProxyMode: nftables needs Kubernetes 1.29, the image has v1.22.0',
    ],
  ])('%s', (_what, from, expected) => {
    const found = problems(() => checkPatches(from, ['v1.22.0']));
    expect(found).toEqual([typeof expected === 'string' ? expected : expect.stringMatching(expected)]);
    expect(
      problems(() => documents(from, 'v1.22.0')),
      'the same when they are written',
    ).toEqual(found);
  });

  test('all of them at once, each once, whatever the number of nodes and versions', () => {
    const from = cluster(
      'ha',
      'ipv4',
      'kubeadmConfigPatchesJSON6902:\n- {kind: ClusterConfiguration, patch: "- {op: remove, path: /a}"}\n- {kind: InitConfiguration, patch: "- {op: test, path: /kind, value: x}"}',
    );
    expect(problems(() => checkPatches(from, ['v1.22.0', 'v1.37.0']))).toHaveLength(2);
  });

  test('the same patch for several versions is accepted: one of them fits', () => {
    const versions = ['v1beta2', 'v1beta3', 'v1beta4'];
    const from = patched(
      ...versions.map((v) => `kind: InitConfiguration\napiVersion: kubeadm.k8s.io/${v}\npatches: {directory: /${v}}`),
    );
    expect(document(documents(from, 'v1.30.0'), 'InitConfiguration').patches).toEqual({ directory: '/v1beta3' });
    expect(document(documents(from, 'v1.37.0'), 'InitConfiguration').patches).toEqual({ directory: '/v1beta4' });
  });
});

describe('what only the caller knows', () => {
  const from = cluster('ha');
  test('no node joins without the hash of the CA', () => {
    expect(documents(from, 'v1.34.0', from.nodes[1], { caCertHashes: undefined })).not.toContain('JoinConfiguration');
    expect(documents(from, 'v1.34.0', from.nodes[1])).not.toContain('unsafeSkipCAVerification');
  });

  test.each([
    ['v1.20.2', 'ClusterConfiguration', { apiServer: { timeoutForControlPlane: '600s' } }],
    ['v1.37.0', 'InitConfiguration', { timeouts: { controlPlaneComponentHealthCheck: '600s' } }],
    ['v1.37.0', 'JoinConfiguration', { timeouts: { controlPlaneComponentHealthCheck: '600s' } }],
  ])('%s: the time for a control plane is in %s', (version, kind, expected) => {
    expect(document(documents(from, version, from.nodes[0], { controlPlaneTimeout: 600 }), kind)).toMatchObject(
      expected,
    );
    expect(documents(from, version)).not.toMatch(/timeout/i);
  });

  test('names for the certificate, a key for shared secrets, phases to skip, the life of the token', () => {
    const text = documents(from, 'v1.34.0', from.nodes[1], {
      certNames: ['api.example', '192.0.2.7'],
      certificateKey: 'abc',
      skipPhases: ['addon/coredns'],
      tokenTtl: '2h0m0s',
    });
    expect(document(text, 'ClusterConfiguration')).toMatchObject({
      apiServer: { certSANs: expect.arrayContaining(['api.example', '192.0.2.7']) },
    });
    expect(document(text, 'InitConfiguration')).toMatchObject({
      certificateKey: 'abc',
      skipPhases: ['preflight', 'addon/coredns'],
      bootstrapTokens: [{ ttl: '2h0m0s' }],
    });
    expect(document(text, 'JoinConfiguration')).toMatchObject({ controlPlane: { certificateKey: 'abc' } });
  });

  test('a node without an address of the family is an error', () => {
    expect(() =>
      documents(cluster('single', 'dual'), 'v1.34.0', undefined, { addresses: { ipv4: '10.89.0.2' } }),
    ).toThrow(
      expect.objectContaining({
        code: 'cluster',
        message: 'c-control-plane has no ipv6 address, which ipFamily: dual needs',
      }),
    );
  });

  test('without root on the host: the gate everywhere, no sysctls, and not before 1.22', () => {
    const text = documents(cluster(), 'v1.34.0', undefined, { rootless: true });
    expect(document(text, 'KubeletConfiguration').featureGates).toEqual({ KubeletInUserNamespace: true });
    expect(document(text, 'KubeProxyConfiguration').conntrack).toEqual({
      maxPerCore: 0,
      tcpEstablishedTimeout: '0s',
      tcpCloseWaitTimeout: '0s',
    });
    expect(problems(() => documents(cluster(), 'v1.21.0', undefined, { rootless: true }))[0]).toContain('1.22');
  });

  test('phases are flags where the documents cannot say them', () => {
    const none = cluster('single', 'ipv4', 'networking: {kubeProxyMode: none}');
    const flags = (kubernetes: string) => kubeadmFlags({ cluster: none, node: none.nodes[0]!, kubernetes });
    expect(flags('v1.21.0')).toEqual({
      init: ['--skip-phases=preflight,addon/kube-proxy'],
      join: ['--skip-phases=preflight'],
    });
    expect(flags('v1.22.0')).toEqual({ init: [], join: [] });
    expect(documents(none, 'v1.22.0')).not.toContain('KubeProxyConfiguration');
  });
});

describe('settings of the cluster reach the components', () => {
  const from = cluster(
    'single',
    'ipv4',
    'featureGates: {B: false, A: true}\nruntimeConfig: {"b/v1": "", "api/all": "true"}',
  );
  test.each(['v1.20.2', 'v1.34.0'])('%s', (version) => {
    const text = documents(from, version);
    expect(text.match(/A=true,B=false/g)).toHaveLength(3);
    expect(text).toMatch(/api\/all=true,b\/v1=\n/);
    for (const kind of ['KubeletConfiguration', 'KubeProxyConfiguration'])
      expect(document(text, kind).featureGates).toEqual({ A: true, B: false });
  });

  test('IPv6 first where its service subnet comes first', () => {
    const six = cluster('single', 'dual', 'networking: {ipFamily: dual, serviceSubnet: "fd00:1::/112,10.96.0.0/16"}');
    const text = documents(six, 'v1.34.0');
    expect(document(text, 'InitConfiguration').localAPIEndpoint).toEqual({
      advertiseAddress: 'fd00:89::2',
      bindPort: 6443,
    });
    expect(text).toContain('value: fd00:89::2,10.89.0.2\n');
  });
});
