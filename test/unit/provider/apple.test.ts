/** What is said to Apple's container and what is read of its answers, with upstream's shapes; nothing is run here. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  networkArguments,
  nodeSize,
  runArguments,
  subnetCandidates,
  uniqueLocal,
} from '../../../src/provider/apple-argv.ts';
import {
  decodeImage,
  decodeNetworks,
  decodeNodes,
  decodePorts,
  decodeService,
  subnetsOf,
  versionIn,
} from '../../../src/provider/apple-decode.ts';
import { appleFailure, type Trouble, tooOld, troubleOf } from '../../../src/provider/apple-errors.ts';
import type { NodeSpec } from '../../../src/provider/provider.ts';
import { appleReference } from '../../support/apple.ts';
import { describeUnless } from '../../support/requirements.ts';

const machine = { cpus: 12, memory: 32 * 1024 };
const spec: NodeSpec = {
  ...{
    name: 'c-control-plane',
    cluster: 'c',
    role: 'control-plane',
    image: 'localhost/kina/node:v1',
    network: 'kina-c',
  },
  privileged: true,
};

describe('a node', () => {
  test('says every size that the runtime would get wrong, and all rights', () => {
    expect(runArguments(spec, 'linux/arm64', machine)).toEqual([
      'run',
      '--detach',
      '--progress=none',
      '--name=c-control-plane',
      '--platform=linux/arm64',
      '--label=dev.kina.cluster=c',
      '--label=dev.kina.role=control-plane',
      '--cap-add=ALL',
      '--masked-path=NONE',
      '--read-only-path=NONE',
      '--cpus=3',
      '--memory=8192m',
      '--network=kina-c,mtu=1500',
      'localhost/kina/node:v1',
    ]);
  });

  test('has everything of its specification before the image: what follows it is the guest’s', () => {
    const full: NodeSpec = {
      ...spec,
      cpus: 1.5,
      memory: 3000,
      mtu: 1280,
      ipv6: true,
      kernel: '/k/Image',
      kernelArguments: ['psi=1', '-x=y'],
      rosetta: true,
      env: { NO_PROXY: 'a,b', EMPTY: '', PAIR: 'k=v' },
      mounts: [
        { source: '/Users/me/a b', target: '/data' },
        { source: '/Users/me/ro', target: '/ro', readOnly: true },
      ],
      ports: [
        { address: '127.0.0.1', hostPort: 6445, containerPort: 6443, protocol: 'TCP' },
        { address: '::1', hostPort: 5300, containerPort: 53, protocol: 'UDP' },
      ],
    };
    expect(runArguments(full, 'linux/arm64', machine).slice(7)).toEqual([
      '--label=dev.kina.ipv6=true',
      '--cap-add=ALL',
      '--masked-path=NONE',
      '--read-only-path=NONE',
      '--cpus=2',
      '--memory=3000m',
      '--network=kina-c,mtu=1280',
      '--env=NO_PROXY=a,b',
      '--env=EMPTY=',
      '--env=PAIR=k=v',
      '--volume=/Users/me/a b:/data',
      '--volume=/Users/me/ro:/ro:ro',
      '--publish=127.0.0.1:6445:6443/tcp',
      '--publish=[::1]:5300:53/udp',
      '--kernel=/k/Image',
      '--kernel-arg=psi=1',
      '--kernel-arg=-x=y',
      '--rosetta',
      'localhost/kina/node:v1',
    ]);
  });

  test('that may do nothing has the default rights', () => {
    const said = runArguments({ ...spec, role: 'external-load-balancer', privileged: false }, 'linux/arm64', machine);
    expect(said.join(' ')).not.toMatch(/cap-add|masked|read-only/);
    expect(said).toContain('--memory=512m');
  });

  test.each([
    ['control-plane', { cpus: 4, memory: 8192 }, { cpus: 2, memory: 4096 }],
    ['control-plane', { cpus: 16, memory: 65536 }, { cpus: 4, memory: 16384 }],
    ['worker', { cpus: 4, memory: 8192 }, { cpus: 2, memory: 2048 }],
    ['external-load-balancer', { cpus: 16, memory: 65536 }, { cpus: 1, memory: 512 }],
  ])('%s on %o gets %o', (role, on, size) => {
    expect(nodeSize({ role }, on)).toEqual(size);
  });

  test('a label with =, a port of SCTP and a small MTU cannot be said, and kina says so', () => {
    const labelled = () => runArguments({ ...spec, labels: { a: 'b=c' } }, 'linux/arm64', machine);
    expect(labelled).toThrow(/label a/);
    const port = { address: '0.0.0.0', hostPort: 1234, containerPort: 5, protocol: 'SCTP' } as const;
    expect(() => runArguments({ ...spec, ports: [port] }, 'linux/arm64', machine)).toThrow(/5\/SCTP/);
    expect(() => runArguments({ ...spec, mtu: 1000 }, 'linux/arm64', machine)).toThrow(/MTU of 1000/);
  });
});

describe('a network', () => {
  test('gets a subnet of its own, the same one again, and none that meets another', () => {
    const free = subnetCandidates('kina', []);
    expect(free[0]).toBe(subnetCandidates('kina', [])[0]);
    expect(free).toHaveLength(189);
    // a block around it, an address in it, and something else altogether
    expect(subnetCandidates('kina', ['192.168.0.0/16'])).toEqual([]);
    const taken = [free[0]!, free[1]!.replace('.0/24', '.17/28'), '10.0.0.0/8', 'fd00::/64'];
    expect(subnetCandidates('kina', taken)).toEqual(free.slice(2));
  });

  test('is labelled as kina’s', () => {
    expect(networkArguments('kina', { ipv4: '192.168.90.0/24', ipv6: uniqueLocal('kina') })).toEqual([
      'network',
      'create',
      '--label=dev.kina.cluster=kina',
      '--subnet=192.168.90.0/24',
      expect.stringMatching(/^--subnet-v6=fd[0-9a-f]{2}:[0-9a-f:]+::\/64$/),
      'kina',
    ]);
  });
});

const node = (name: string, change: object = {}, status: object = { networks: [], state: 'stopped' }) => ({
  id: name,
  configuration: {
    labels: { 'dev.kina.cluster': 'c', 'dev.kina.role': 'worker' },
    image: { reference: 'localhost/kina/node:v1', descriptor: { anything: true } },
    publishedPorts: [{ hostAddress: '127.0.0.1', hostPort: 7000, containerPort: 6443, proto: 'tcp', count: 2 }],
    ...change,
  },
  status,
  unknown: { key: 1 },
});
const address = { ipv4Address: '192.168.90.3/24', ipv6Address: 'fd65::3/64', mtu: 1500 };

describe('the answers', () => {
  test('of a list: kina’s own nodes by name, whatever else runs there', () => {
    const running = { state: 'running', networks: [address, { ipv4Address: '10.0.0.2/8' }] };
    const text = JSON.stringify([
      node('c-worker2'),
      node('c-worker', {}, running),
      node('other', { labels: { 'com.apple.container.plugin': 'k8s' } }),
    ]);
    const nodes = decodeNodes(text);
    expect(nodes.map(({ name, state, ipv4, ipv6 }) => [name, state, ipv4, ipv6])).toEqual([
      ['c-worker', 'running', '192.168.90.3', undefined],
      ['c-worker2', 'stopped', undefined, undefined],
    ]);
    expect(nodes[1]!.ports).toEqual([{ address: '127.0.0.1', hostPort: 7000, containerPort: 6443, protocol: 'TCP' }]);
    expect(decodeNodes(text, 'd')).toEqual([]);
    // a stopped container, also one that is not kina's, wants its ports back
    expect([...decodePorts(text)]).toEqual([7000, 7001]);
  });

  test('IPv6 is told of clusters that use it', () => {
    const labels = { 'dev.kina.cluster': 'c', 'dev.kina.role': 'worker', 'dev.kina.ipv6': 'true' };
    const text = JSON.stringify([node('c', { labels }, { state: 'running', networks: [address] })]);
    expect(decodeNodes(text)[0]!.ipv6).toBe('fd65::3');
  });

  test.each([
    ['no JSON', 'Error: something', /not print valid JSON/],
    ['a form before 1.0, where status was a word', JSON.stringify([{ ...node('a'), status: 'running' }]), /form/],
    ['a key that kina needs and that is gone', JSON.stringify([{ id: 'a', status: { state: 'x' } }]), /form/],
  ])('%s is refused', (_what, text, words) => {
    expect(() => decodeNodes(text)).toThrow(words);
  });

  test.each([
    ['container CLI version 1.2.2 (build: release, commit: 0190097)', '1.2.2'],
    ['container-apiserver version 1.10.0 (build: release)', '1.10.0'],
    ['nothing', undefined],
  ])('the version in %j is %s', (text, version) => {
    expect(versionIn(text)).toBe(version);
  });
});

describeUnless(appleReference.missing, 'upstream’s answers as the fixtures have them', () => {
  const fixture = (name: string) => readFileSync(join(appleReference.fixtures, name), 'utf8');

  test('three nodes in any order: running, stopped, never started', () => {
    expect(
      decodeNodes(fixture('container-list.json')).map(({ name, role, state, ipv4 }) => [name, role, state, ipv4]),
    ).toEqual([
      ['kina-control-plane', 'control-plane', 'running', '192.168.90.2'],
      ['kina-worker', 'worker', 'stopped', undefined],
      ['kina-worker2', 'worker', 'stopped', undefined],
    ]);
    expect(decodeNodes(fixture('container-list-empty.json'))).toEqual([]);
    expect(decodeNodes(fixture('container-inspect.json'))).toHaveLength(1);
  });

  test('an image, for this architecture and for another', () => {
    expect(decodeImage(fixture('image-inspect.json'), 'arm64')).toMatchObject({
      config: 'sha256:ebf5a2a1805bd3f0438a8f02db3a2a40c3c1e4655cfa6138acabdd8c2d1b881e',
      index: 'sha256:0180a6b284fb74bc7693f82ba607dae90b245aa84d9b576837950b4b5aaeb9aa',
      names: ['localhost/kina/node:v1.35.5'],
      labels: { 'dev.kina.kubernetes': 'v1.35.5' },
    });
    expect(decodeImage(fixture('image-inspect.json'), 'amd64')).toBeUndefined();
  });

  test('networks and their subnets', () => {
    const networks = decodeNetworks(fixture('network-list.json'));
    expect(networks.map(({ id }) => id)).toEqual(['default', 'kina']);
    expect(subnetsOf(networks[1]!)).toEqual(['192.168.90.0/24', 'fd65:90a0:b1c2:d3e4::/64']);
    expect(decodeNetworks(fixture('network-inspect.json'))).toHaveLength(1);
  });

  test.each([
    ['system-status-running.json', { status: 'running', version: '1.2.2' }],
    ['system-status-running.v1.4.1.json', { status: 'running', version: '1.4.1' }],
    ['system-status-not-running.json', { status: 'not running', version: undefined }],
    ['system-status-unregistered.json', { status: 'unregistered', version: undefined }],
  ])('%s', (name, service) => {
    expect(decodeService(fixture(name))).toEqual(service);
  });

  const meant: Readonly<Record<string, Trouble>> = {
    'inspect-missing': 'absent',
    'start-missing': 'absent',
    'stop-missing': 'absent',
    'delete-missing': 'absent',
    'logs-missing': 'absent',
    'run-name-taken': 'exists',
    'create-name-taken': 'exists',
    'exec-not-running': 'not-running',
    'exec-race-not-running': 'not-running',
    'exec-no-such-binary': 'no-binary',
    'run-network-missing': 'absent',
    'run-network-macos15': 'no-networks',
    'usage-network-macos15': 'no-networks',
    'image-inspect-missing': 'absent',
    'image-delete-missing': 'absent',
    'network-create-exists': 'exists',
    'network-create-overlap': 'overlap',
    'network-inspect-missing': 'absent',
    'network-delete-missing': 'absent',
    'network-delete-in-use': 'in-use',
    'network-list-timeout': 'overloaded',
    'list-service-down': 'no-service',
    'run-service-down': 'no-service',
    'usage-unknown-option': 'old',
    'usage-unknown-plugin': 'old',
  };
  type Sample = { id: string; argv: string[]; exitCode: number; stdout: string; stderr: string };
  const { samples } = JSON.parse(appleReference.missing ? '{"samples":[]}' : fixture('errors.json')) as {
    samples: Sample[];
  };

  test.each(Object.entries(meant))('%s is understood as %s', (id, trouble) => {
    expect(troubleOf(samples.find((one) => one.id === id)!)).toBe(trouble);
  });

  // What people meet and can do something about; the rest are mistakes of kina's own, which must not be called theirs.
  test.each([
    ['run-port-busy', 'choose another hostPort'],
    ['run-port-privileged', 'need root'],
    ['run-no-default-kernel', 'system start --enable-kernel-install'],
    ['run-service-down', 'system start --enable-kernel-install'],
    ['run-network-macos15', 'macOS 26'],
    ['usage-unknown-option', '1.2.1 or later'],
    ['rosetta-translated', 'under Rosetta'],
    ['run-platform-missing', 'linux/arm64'],
    ['run-kernel-missing', '`kernel`'],
    ['run-volume-path-missing', 'extraMounts'],
    ['start-mount-gone', 'extraMounts'],
    ['exec-not-running', 'logs --boot'],
  ])('%s says what to do: %s', (id, words) => {
    const { argv, exitCode, stdout, stderr } = samples.find((one) => one.id === id)!;
    const error = appleFailure(argv.slice(1), { code: exitCode, stdout, stderr, timedOut: false });
    expect(error.hint).toContain(words);
    expect(error.message).toContain(argv.slice(1, 2)[0]);
  });
});

test('a version that cannot run nodes is refused with the reason', () => {
  expect(tooOld('1.2.0')).toMatchObject({
    message: 'container 1.2.0 cannot run Kubernetes nodes',
    details: [expect.stringContaining('write to /proc/sys')],
    hint: expect.stringContaining('container system stop'),
  });
});
