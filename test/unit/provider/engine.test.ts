/**
 * What the engines are asked for, argument by argument. The program on the PATH is a recorder that answers with what the
 * real ones answered: the real ones are asked in test/e2e.
 */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { NodeSpec, Provider } from '../../../src/provider/provider.ts';
import { providerNamed } from '../../../src/provider/select.ts';

// Written with the shell's own means: the PATH of the test holds nothing else.
const recorder = `#!/bin/sh
{ printf '%s\\n' "$@"; echo; } >>"$RECORD/calls"
answer=$RECORD/$1.$2
[ -e "$answer" ] || [ -e "$answer.stderr" ] || answer=$RECORD/$1
if [ -e "$answer.stderr" ]; then while read -r line; do echo "$line" >&2; done <"$answer.stderr"; exit 1; fi
if [ -e "$answer" ]; then while IFS= read -r line; do printf '%s\\n' "$line"; done <"$answer"; fi
`;

const path = process.env.PATH;
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kina-engine-'));
  mkdirSync(join(folder, 'bin'));
  for (const name of ['docker', 'podman']) {
    writeFileSync(join(folder, 'bin', name), recorder);
    chmodSync(join(folder, 'bin', name), 0o755);
  }
  process.env.PATH = join(folder, 'bin');
  process.env.RECORD = folder;
});
afterEach(() => {
  process.env.PATH = path;
  delete process.env.RECORD;
  rmSync(folder, { recursive: true });
});

const calls = (): string[][] =>
  readFileSync(join(folder, 'calls'), 'utf8')
    .split('\n\n')
    .filter(Boolean)
    .map((call) => call.split('\n'));
const answers = (call: string, value: unknown) => writeFileSync(join(folder, call), `${JSON.stringify(value)}\n`);
const refuses = (call: string, words: string) => writeFileSync(join(folder, `${call}.stderr`), `${words}\n`);
const engine = (name: string): Provider => providerNamed(name, 'test');

const spec: NodeSpec = {
  name: 'c-worker',
  cluster: 'c',
  role: 'worker',
  image: 'kindest/node:v1@sha256:00',
  network: 'kina-c',
  privileged: true,
  env: { NO_PROXY: 'a,b' },
  mounts: [
    { source: '/lib/modules', target: '/lib/modules', readOnly: true },
    { source: '/data', target: '/data', relabel: true, propagation: 'Bidirectional' },
    { source: '/x', target: '/y', propagation: 'None' },
  ],
  ports: [
    { address: '127.0.0.1', hostPort: 8080, containerPort: 80, protocol: 'TCP' },
    { address: '::1', hostPort: 0, containerPort: 53, protocol: 'UDP' },
  ],
  ipv6: true,
  cpus: 2,
  memory: 4096,
};

describe('a node', () => {
  const common = [
    'run',
    '--detach',
    '--tty',
    '--name',
    'c-worker',
    '--hostname',
    'c-worker',
    '--network',
    'kina-c',
    '--label',
    'dev.kina.cluster=c',
    '--label',
    'dev.kina.role=worker',
  ];
  const privileged = ['--privileged', '--cgroupns=private', '--tmpfs', '/tmp', '--tmpfs', '/run'];
  const rest = [
    '--sysctl',
    'net.ipv6.conf.all.disable_ipv6=0',
    '--sysctl',
    'net.ipv6.conf.all.forwarding=1',
    '--cpus',
    '2',
    '--memory',
    '4096m',
    '--env',
    'NO_PROXY=a,b',
    '--volume',
    '/lib/modules:/lib/modules:ro',
    '--volume',
    '/data:/data:Z,rshared',
    '--volume',
    '/x:/y',
    '--publish',
    '127.0.0.1:8080:80/tcp',
  ];

  test('of docker', async () => {
    await engine('docker').create(spec);
    expect(calls()).toEqual([
      [
        ...common,
        '--restart',
        'on-failure:1',
        ...privileged,
        '--security-opt',
        'seccomp=unconfined',
        '--security-opt',
        'apparmor=unconfined',
        '--init=false',
        '--volume',
        '/var',
        ...rest,
        '--publish',
        '[::1]:0:53/udp',
        'kindest/node:v1@sha256:00',
      ],
    ]);
  });

  test('of podman: it says what is systemd, programs in /var run, and a digest stands without its tag', async () => {
    await engine('podman').create(spec);
    expect(calls()).toEqual([
      [
        ...common,
        ...privileged,
        '--systemd=always',
        '--env',
        'container=podman',
        '--mount',
        'type=volume,destination=/var,suid,exec,dev',
        ...rest,
        '--publish',
        '[::1]::53/udp',
        'kindest/node@sha256:00',
      ],
    ]);
  });

  test('that may do nothing: a load balancer has no rights, no volumes, no tmpfs', async () => {
    const { env: _env, mounts: _mounts, cpus: _cpus, memory: _memory, ...plain } = spec;
    await engine('podman').create({ ...plain, privileged: false, ipv6: false, ports: [] });
    expect(calls()).toEqual([[...common, 'kindest/node@sha256:00']]);
  });
});

describe('a network', () => {
  test('is made without asking whether it is there, and then asked for its subnets', async () => {
    answers('network.inspect', [{ subnets: [{ subnet: '10.89.0.0/24' }] }]);
    expect(await engine('podman').ensureNetwork({ name: 'kina-c', ipv6: false })).toEqual(['10.89.0.0/24']);
    expect(calls()).toEqual([
      ['network', 'create', '--driver', 'bridge', '--label', 'dev.kina.cluster=kina-c', 'kina-c'],
      ['network', 'inspect', 'kina-c'],
    ]);
  });

  test('that is there is taken as it is', async () => {
    refuses('network.create', 'Error: network name kina-c already used: network already exists');
    answers('network.inspect', [{ IPAM: { Config: [{ Subnet: '172.18.0.0/16' }, { Subnet: 'fc00::/64' }] } }]);
    expect(await engine('docker').ensureNetwork({ name: 'kina-c', ipv6: true })).toEqual([
      '172.18.0.0/16',
      'fc00::/64',
    ]);
    expect(calls()).toHaveLength(2);
  });

  test('with IPv6 tries further subnets when one is taken, five in all', async () => {
    refuses('network.create', 'Error: subnet fd00::/64 is already used on the host or by another config');
    await expect(engine('podman').ensureNetwork({ name: 'kina-c', ipv6: true })).rejects.toMatchObject({
      code: 'provider',
      message: '`podman network create` failed with exit code 1',
    });
    const subnets = calls().map((call) => call[call.indexOf('--subnet') + 1]);
    expect(new Set(subnets).size).toBe(5);
    expect(subnets.every((subnet) => /^fd[0-9a-f:]+::\/64$/.test(subnet!))).toBe(true);
  });

  test('of docker masquerades, and stays while others use it', async () => {
    answers('network.inspect', [{}]);
    refuses('network.rm', 'Error response from daemon: network kina-c has active endpoints');
    await engine('docker').ensureNetwork({ name: 'kina-c', ipv6: false });
    expect(calls()[0]).toContain('com.docker.network.bridge.enable_ip_masquerade=true');
    expect(await engine('docker').removeNetwork('kina-c')).toBe(false);
  });
});

describe('the MTU of a configuration', () => {
  test.each([
    ['docker', 'com.docker.network.driver.mtu=1400'],
    ['podman', 'mtu=1400'],
  ])('is an option of the network of %s', async (name, option) => {
    answers('network.inspect', [{}]);
    await engine(name).ensureNetwork({ name: 'kina-c', ipv6: false, mtu: 1400 });
    const [create = []] = calls();
    expect(create[create.indexOf(option) - 1]).toBe('--opt');
    expect(create.at(-1)).toBe('kina-c');
  });
});

describe('the nodes of a cluster', () => {
  const container = (name: string, running = true) => ({
    Name: name,
    State: { Running: running },
    Config: { Image: 'node:1', Labels: { 'dev.kina.cluster': 'c', 'dev.kina.role': 'worker' } },
    NetworkSettings: {
      Networks: { 'kina-c': { IPAddress: running ? '10.89.0.2' : '', GlobalIPv6Address: '' } },
      Ports: { '6443/tcp': [{ HostIp: '', HostPort: '7000' }], '80/udp': null },
    },
  });

  test('are two calls, however many there are', async () => {
    writeFileSync(join(folder, 'ps'), 'one\ntwo\n');
    answers('inspect', [container('/c-worker2', false), container('c-worker')]);
    const nodes = await engine('docker').nodes('c');
    expect(calls()).toEqual([
      ['ps', '--all', '--quiet', '--no-trunc', '--filter', 'label=dev.kina.cluster=c'],
      ['inspect', '--type', 'container', 'one', 'two'],
    ]);
    expect(nodes.map(({ name, state, ipv4 }) => [name, state, ipv4])).toEqual([
      ['c-worker', 'running', '10.89.0.2'],
      ['c-worker2', 'stopped', undefined],
    ]);
    expect(nodes[0]!.ports).toEqual([{ address: '0.0.0.0', hostPort: 7000, containerPort: 6443, protocol: 'TCP' }]);
  });

  test('none is one call', async () => {
    expect(await engine('podman').nodes()).toEqual([]);
    expect(calls()).toEqual([['ps', '--all', '--quiet', '--no-trunc', '--filter', 'label=dev.kina.cluster']]);
  });
});

describe('removal', () => {
  test('takes volumes along, in one call', async () => {
    await engine('docker').remove(['a', 'b']);
    await engine('podman').remove(['a']);
    expect(calls()).toEqual([
      ['rm', '--force', '--volumes', 'a', 'b'],
      ['rm', '--force', '--volumes', 'a'],
    ]);
  });

  test('of what is gone is fine, and of nothing no call', async () => {
    refuses('rm', 'Error: no container with name or ID "a" found: no such container');
    await engine('docker').remove(['a']);
    await engine('docker').remove([]);
    expect(calls()).toHaveLength(1);
  });

  test('that fails says what the engine said', async () => {
    refuses('rm', 'Error: device or resource busy');
    await expect(engine('docker').remove(['a'])).rejects.toMatchObject({ details: ['Error: device or resource busy'] });
  });
});

test('a command in a node: its own words, input only where there is some', async () => {
  await engine('docker').exec('n', ['sh', '-c', 'exit 0'], { env: { A: 'b c' } });
  await engine('docker').exec('n', ['cat'], { input: 'x' });
  expect(calls()).toEqual([
    ['exec', '--privileged', '--env', 'A=b c', 'n', 'sh', '-c', 'exit 0'],
    ['exec', '--privileged', '--interactive', 'n', 'cat'],
  ]);
});

test.each([
  ['Error: rootlessport listen tcp 0.0.0.0:80: bind: address already in use', 'choose another hostPort'],
  ['write /var/lib: no space left on device', 'The disk of the engine is full'],
  ['permission denied while trying to connect to the docker.sock socket', 'may not use the engine'],
  ['something else', 'docker version'],
])('what to do about %j', async (words, hint) => {
  refuses('run', words);
  await expect(engine('docker').create(spec)).rejects.toMatchObject({ hint: expect.stringContaining(hint) });
});
