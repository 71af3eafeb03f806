import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { loadCluster } from '../../../src/cluster/config/cluster.ts';
import { exitCodeOf, type KinaError } from '../../../src/host/errors.ts';
import { kina, kind, load, problems } from './config-support.ts';

describe('defaults', () => {
  test('no file at all: one control plane, as kind has it, under the name kina', () => {
    expect(loadCluster({ overrides: {}, cwd: '/', env: {} })).toEqual({
      name: 'kina',
      nodes: [
        {
          name: 'kina-control-plane',
          role: 'control-plane',
          labels: {},
          mounts: [],
          ports: [],
          kubeadmPatches: [],
          kubeadmPatches6902: [],
          kernelArguments: [],
        },
      ],
      networking: {
        ipFamily: 'ipv4',
        apiServerAddress: '127.0.0.1',
        apiServerPort: 0,
        podSubnets: ['10.244.0.0/16'],
        serviceSubnets: ['10.96.0.0/16'],
        cni: 'default',
        kubeProxyMode: 'iptables',
      },
      featureGates: {},
      runtimeConfig: {},
      kubeadmPatches: [],
      kubeadmPatches6902: [],
      containerdPatches: [],
      containerdPatches6902: [],
      warnings: [],
    });
  });

  test('the subnets and addresses of each family', () => {
    expect(load(kind('networking: {ipFamily: ipv6}')).networking).toMatchObject({
      apiServerAddress: '::1',
      podSubnets: ['fd00:10:244::/56'],
      serviceSubnets: ['fd00:10:96::/112'],
    });
    expect(load(kind('networking: {ipFamily: dual}')).networking).toMatchObject({
      apiServerAddress: '127.0.0.1',
      podSubnets: ['10.244.0.0/16', 'fd00:10:244::/56'],
      serviceSubnets: ['10.96.0.0/16', 'fd00:10:96::/112'],
    });
    const ports = load(kind('networking: {ipFamily: ipv6}\nnodes: [{extraPortMappings: [{containerPort: 80}]}]'));
    expect(ports.nodes[0]!.ports[0]!.listenAddress).toBe('::');
  });

  test('numbering starts at 2 and follows the file, per role', () => {
    const roles = ['worker', 'control-plane', 'worker', 'control-plane', 'control-plane', 'worker'];
    const { nodes } = load(kind(`name: a\nnodes: [${roles.map((role) => `{role: ${role}}`)}]`));
    expect(nodes.map((node) => node.name)).toEqual([
      'a-worker',
      'a-control-plane',
      'a-worker2',
      'a-control-plane2',
      'a-control-plane3',
      'a-worker3',
    ]);
  });
});

describe('names', () => {
  const env = { KINA_CLUSTER_NAME: 'a', KIND_CLUSTER_NAME: 'b' };
  test('flag, KINA_CLUSTER_NAME, KIND_CLUSTER_NAME, file; an empty variable says nothing', () => {
    const text = kind('name: c');
    expect(load(text, { env, name: 'flag' }).name).toBe('flag');
    expect(load(text, { env }).name).toBe('a');
    expect(load(text, { env: { ...env, KINA_CLUSTER_NAME: '' } }).name).toBe('b');
    expect(load(text).name).toBe('c');
  });
  test('a wrong one is reported where it comes from', () => {
    expect(problems(() => load(kind('name: A_b')))[0]).toMatch(/^c\.yaml:3:7: name: invalid cluster name "A_b"/);
    expect(problems(() => load(kind('name: ok'), { name: 'x/y' }))[0]).toMatch(/^--name: invalid cluster name "x\/y"/);
    expect(problems(() => load(undefined, { env: { KIND_CLUSTER_NAME: 'a.' } }))[0]).toMatch(
      /^KIND_CLUSTER_NAME: invalid cluster name "a\.": the node name a\.-control-plane/,
    );
  });
  test('node names above 63 characters are a warning, as in kind', () => {
    expect(load(undefined, { name: 'x'.repeat(49) }).warnings).toEqual([]);
    expect(load(undefined, { name: 'x'.repeat(50) }).warnings).toHaveLength(1);
  });
});

describe("kind's files work unchanged", () => {
  test('what YAML 1.1 and Go read in them: yes, numbers as texts, nothing as nothing, merge keys', () => {
    const cluster = load(
      kind(`name: 123
nodes:
- &node
  labels: {tier: &tier web, release: 1.20, canary: true, ready: }
  extraMounts: [{hostPath: ./data/, containerPath: /data, readOnly: yes, propagation: ""}]
- <<: *node
  role: worker
  image: *tier
featureGates: {A: on}
runtimeConfig: {"api/alpha": false}
networking:
  dnsSearch: []
  apiServerPort:
kubeadmConfigPatches:`),
    );
    expect(cluster.name).toBe('123');
    expect(cluster.nodes.map((node) => node.role)).toEqual(['control-plane', 'worker']);
    expect(cluster.nodes[1]!.labels).toEqual({ tier: 'web', release: '1.20', canary: 'true', ready: '' });
    expect(cluster.nodes[0]!.mounts).toEqual([
      { hostPath: '/home/me/data', containerPath: '/data', readOnly: true, selinuxRelabel: false, propagation: 'None' },
    ]);
    expect(cluster.featureGates).toEqual({ A: true });
    expect(cluster.runtimeConfig).toEqual({ 'api/alpha': 'false' });
    expect(cluster.networking).toMatchObject({ dnsSearch: [], apiServerPort: 0 });
  });

  test('an image by flag is for every node, also for those that have one', () => {
    const text = kind('nodes: [{image: a}, {role: worker}]');
    expect(load(text).nodes.map((node) => node.image)).toEqual(['a', undefined]);
    expect(load(text, { image: 'b' }).nodes.map((node) => node.image)).toEqual(['b', 'b']);
  });

  test('a --- before and after the one document', () => {
    expect(load(`---\n${kind('name: a')}---\n`).name).toBe('a');
    expect(load(`${kind('name: a')}---\n# nothing\n`).name).toBe('a');
  });

  test('an empty string is the same as no setting', () => {
    const empty = kind(
      'networking: {apiServerAddress: "", podSubnet: "", ipFamily: ""}\nnodes: [{image: "", role: ""}]',
    );
    expect(load(empty, { name: 'kina' })).toEqual(load(undefined));
  });

  test('disableDefaultCNI is cni: none', () => {
    expect(load(kind('networking: {disableDefaultCNI: true}')).networking.cni).toBe('none');
    expect(problems(() => load(kina('networking: {disableDefaultCNI: true, cni: kindnet}')))).toEqual([
      'c.yaml:3:44: cni: kindnet contradicts disableDefaultCNI: true',
    ]);
  });
});

describe("kina's own format", () => {
  const folder = mkdtempSync(join(tmpdir(), 'kina-config-'));
  beforeAll(() => {
    writeFileSync(join(folder, 'cni.yaml'), '');
    writeFileSync(join(folder, 'vmlinuz'), '');
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  test('what nodes in virtual machines need, and the pod network', () => {
    const text = kina(`provider: podman
networking: {cni: ./cni.yaml, mtu: 1280}
nodes: [{cpus: 2.5, memory: 4GiB, disk: 20480 Mi, kernel: vmlinuz, kernelArguments: [quiet], rosetta: true}]`);
    const cluster = load(text, { cwd: folder });
    expect(cluster.nodes[0]).toMatchObject({
      cpus: 2.5,
      memory: 4096,
      disk: 20480,
      kernel: join(folder, 'vmlinuz'),
      kernelArguments: ['quiet'],
      rosetta: true,
    });
    expect(cluster.networking).toMatchObject({ cni: { file: join(folder, 'cni.yaml') }, mtu: 1280 });
    expect(cluster.provider).toBe('podman');
  });

  test('missing files, sizes without a unit, unknown words', () => {
    const text = kina(`provider: pdoman
networking: {cni: kindet}
nodes: [{memory: 4096, kernel: ./none}]`);
    expect(problems(() => load(text))).toEqual([
      'c.yaml:3:11: provider: expected one of: podman, docker, apple; did you mean "podman"?',
      'c.yaml:4:19: cni: expected default, kindnet, none or the path of a manifest',
      'c.yaml:5:18: memory: expected a string',
      'c.yaml:5:32: kernel: file not found: /home/me/none',
    ]);
  });

  test('a kernel and Rosetta of the command line are for every node, in both formats', () => {
    const nodes = kind('nodes: [{}, {role: worker}]');
    const both = load(nodes, { cwd: folder, kernel: 'vmlinuz', rosetta: true }).nodes;
    expect(both.map(({ kernel, rosetta }) => [kernel, rosetta])).toEqual(
      Array(2).fill([join(folder, 'vmlinuz'), true]),
    );
    expect(load(kina('nodes: [{rosetta: false}]')).nodes[0]).not.toHaveProperty('rosetta');
    // once, and not at a place of the file, which has no such key
    expect(problems(() => load(nodes, { kernel: 'none' }))).toEqual(['--kernel: file not found: /home/me/none']);
  });

  test("in a file of kind's format they say where they belong", () => {
    expect(problems(() => load(kind('nodes: [{cpus: 2}]')))).toEqual([
      'c.yaml:3:10: cpus needs apiVersion: kina.dev/v1alpha1, which also has all keys of kind',
    ]);
  });
});

describe('what is wrong', () => {
  test('everything at once, in the order of the file; exit code 2', () => {
    const text = kind(`nodes:
- role: contol-plane
  extraPortMappings:
  - containerPort: 80
    hostport: 80
  extraMounts:
  - hostPath: /a
    containerPath: data
- labels: {kubernetes.io/role: x}
kubeadmConfigPatches:
- |
  kind: ClusterConfiguration
  apiServer:
    extraArgs: [
- |
  kind: InitConfigration
networking: {serviceSubnet: 10.244.0.0/20}`);
    expect(problems(() => load(text))).toEqual([
      'c.yaml:4:9: role: expected one of: control-plane, worker; did you mean "control-plane"?',
      'c.yaml:7:5: unknown key "hostport"; did you mean "hostPort"? (known: containerPort, hostPort, listenAddress, protocol)',
      'c.yaml:10:20: containerPath: expected an absolute path in the node',
      expect.stringMatching(/^c\.yaml:11:12: label kubernetes.io\/role: kubelet cannot set labels of/),
      expect.stringMatching(/^c\.yaml:1[67]:\d+: invalid patch: /),
      expect.stringMatching(/^c\.yaml:18:3: unknown kind "InitConfigration"; did you mean "InitConfiguration"\?/),
      'c.yaml:19:29: serviceSubnet 10.244.0.0/20 overlaps podSubnet 10.244.0.0/16',
    ]);
    try {
      load(text);
    } catch (error) {
      expect(exitCodeOf(error)).toBe(2);
      expect((error as KinaError).message).toBe('c.yaml is not a valid cluster configuration (7 problems)');
    }
  });

  test.each([
    ['', 'c.yaml:1:1: apiVersion is missing: expected kind.x-k8s.io/v1alpha4 or kina.dev/v1alpha1, with kind: Cluster'],
    [
      'apiVersion: kind.x-k8s.io/v1alpha3\nkind: Cluster',
      /^c\.yaml:1:13: .*; did you mean "kind.x-k8s.io\/v1alpha4"\?/,
    ],
    [
      'apiVersion: kind.x-k8s.io/v1alpha4\nkind: Clutser',
      /^c\.yaml:2:7: kind: expected one of: Cluster; did you mean "Cluster"\?$/,
    ],
    [`${kind('')}---\n${kind('name: b')}`, /^c\.yaml:5:1: unexpected second YAML document/],
    [kind('nodes: *x'), 'c.yaml:3:8: *x has no anchor &x before it'],
    [kind('kubeadmConfigPatches: ["kind: *x"]'), /^c\.yaml:3:24: invalid patch: \*x has no anchor/],
    [kind('nodes: one'), /^c\.yaml:3:8: nodes: /],
    [kind('name: a\nname: b'), /^c\.yaml:4:1: Map keys must be unique/],
    [kind('nodes: []'), 'c.yaml:3:8: nodes: a cluster needs at least one node'],
    [kind('nodes: [{role: worker}]'), 'c.yaml:3:8: a cluster needs a node with role control-plane'],
    [kind('networking: {apiServerAddress: localhost}'), /^c\.yaml:3:32: apiServerAddress: expected an IP address$/],
    [kind('networking: {podSubnet: 10.0.0.0/33}'), /^c\.yaml:3:25: podSubnet: expected a network/],
    [kind('networking: {podSubnet: "fd00::/64"}'), /ipFamily ipv4 needs exactly one ipv4 network$/],
    [kind('networking: {podSubnet: "10.1.0.0/16,10.2.0.0/16"}'), /ipFamily ipv4 needs exactly one/],
    [kind('networking: {ipFamily: dual, podSubnet: "10.1.0.0/16,10.2.0.0/16"}'), /one of each family$/],
    [kind('networking: {ipFamily: dual, podSubnet: "fd00:10:96::/48"}'), /overlaps podSubnet fd00:10:96::\/48$/],
    [kind('nodes: [{labels: {"a b": c}}]'), /^c\.yaml:3:19: invalid label name "a b"/],
    [kind('nodes: [{labels: {a: "b,c"}}]'), /^c\.yaml:3:19: label a: invalid value "b,c"/],
    [kind('containerdConfigPatches: ["a = ["]'), /^c\.yaml:3:27: invalid patch: /],
    [kind('containerdConfigPatchesJSON6902: ["{}"]'), /^c\.yaml:3:35: a JSON patch must be a list/],
    [kind('kubeadmConfigPatches: ["- a"]'), /^c\.yaml:3:24: the patch is not a mapping/],
    [kind('kubeadmConfigPatches: ["a: 1"]'), /^c\.yaml:3:24: the patch has no kind/],
    [
      kind('kubeadmConfigPatchesJSON6902: [{kind: ClusterConfiguration, patch: "- {op: ad, path: /a}"}]'),
      /op: .*did you mean "add"\?$/,
    ],
    [
      kind('kubeadmConfigPatchesJSON6902: [{kind: ClusterConfiguration, patch: "- {op: add, path: a, value: 1}"}]'),
      /invalid JSON pointer "a"/,
    ],
    [
      kind('kubeadmConfigPatchesJSON6902: [{kind: ClusterConfiguration, patch: "- {op: add, path: /a}"}]'),
      /add needs "value"$/,
    ],
  ])('%j', (text, expected) => {
    expect(problems(() => load(text))).toEqual([
      typeof expected === 'string' ? expected : expect.stringMatching(expected),
    ]);
  });

  test('an even number of control planes, unless it is wanted', () => {
    const text = kind('nodes: [{}, {}]');
    expect(problems(() => load(text))).toEqual([expect.stringMatching(/^c\.yaml:3:8: 2 control planes: etcd /)]);
    expect(load(text, { allowEvenControlPlanes: true }).nodes).toHaveLength(2);
  });

  test('a line in a patch is a line of the file, whatever the indentation', () => {
    const text = kind('containerdConfigPatches:\n  - |\n    # a comment\n\n      [plugins]\n    a = = 1');
    expect(problems(() => load(text))).toEqual([expect.stringMatching(/^c\.yaml:8:9: invalid patch/)]);
  });

  test('a file that is not there is no mistake in it', () => {
    expect(() => load(undefined, { file: 'none.yaml' })).toThrow(
      expect.objectContaining({ code: 'not-found', message: 'cluster configuration not found: /home/me/none.yaml' }),
    );
  });
});

describe('host ports', () => {
  const mapping = (text: string) => `{containerPort: 80, ${text}}`;
  const nodes = (...ports: string[][]) =>
    kind(
      `nodes: [${ports.map((list, i) => `{role: ${i ? 'worker' : 'control-plane'}, extraPortMappings: [${list.map(mapping)}]}`)}]`,
    );

  test.each([
    ['on two nodes', [['hostPort: 80'], ['hostPort: 80']]],
    ['with the protocol left out, and in lower case', [['hostPort: 80', 'hostPort: 80, protocol: tcp']]],
    ['on an address and on all', [['hostPort: 80, listenAddress: 127.0.0.1', 'hostPort: 80, listenAddress: "::"']]],
    [
      'on one address in two spellings',
      [['hostPort: 80, listenAddress: "::1"', 'hostPort: 80, listenAddress: "0:0::1"']],
    ],
  ])('the same one %s', (_what, ports) => {
    expect(problems(() => load(nodes(...ports)))).toEqual([
      expect.stringMatching(/host port 80\/TCP on .* is used by/),
    ]);
  });

  test("the API server's", () => {
    const text = `${nodes(['hostPort: 6443'])}networking: {apiServerPort: 6443}`;
    expect(problems(() => load(text))[0]).toMatch(/is used by the API server/);
  });

  test('different protocols, addresses, and ports that are chosen later', () => {
    const free = [
      ['hostPort: 80', 'hostPort: 80, protocol: UDP', 'hostPort: 80, protocol: SCTP', 'hostPort: 0', 'hostPort: -1'],
      [
        'hostPort: 81, listenAddress: 127.0.0.1',
        'hostPort: 81, listenAddress: 127.0.0.2',
        'hostPort: 0',
        'hostPort: -1',
      ],
    ];
    expect(load(nodes(...free)).nodes[0]!.ports).toHaveLength(5);
  });
});

test.each([
  ['node.kubernetes.io/anything', true],
  ['x.kubelet.kubernetes.io/a', true],
  ['topology.kubernetes.io/zone', true],
  ['example.com/a', true],
  ['ingress-ready', true],
  ['node-role.kubernetes.io/worker', false],
  ['node-restriction.kubernetes.io/a', false],
  ['kubernetes.io/other', false],
  ['a.k8s.io/b', false],
])('label %s may be given by a kubelet: %s', (label, allowed) => {
  const work = () => load(kind(`nodes: [{labels: {${label}: "true"}}]`));
  if (allowed) expect(work().nodes[0]!.labels).toEqual({ [label]: 'true' });
  else expect(problems(work)).toEqual([expect.stringMatching(/kubelet cannot set labels of/)]);
});
