/** Every check of `kina doctor` on a healthy machine and on one with the problem that it detects. */
import { rm } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { KinaError } from '../../../src/host/errors.ts';
import {
  type DoctorCheck,
  examine,
  exitCode,
  type FoundEngine,
  type Probes,
  type State,
} from '../../../src/ops/doctor/check.ts';
import { doctorChecks } from '../../../src/ops/doctor/checks.ts';
import type { EngineHost, NodeStatus, Provider } from '../../../src/provider/provider.ts';
import { newStore, smallImage } from '../oci/fixture.ts';

const GiB = 2 ** 30;
const said = (stdout: string, code = 0) => ({ code, stdout, stderr: '', timedOut: false });

const engine = (name: string, host: Partial<EngineHost> = {}, exec = said('')): FoundEngine => ({
  provider: {
    name,
    capabilities: { nodeKernel: name === 'apple' },
    host: async () => ({ rootless: false, cgroupVersion: 2, controllers: undefined, ...host }),
    exec: async () => exec,
  } as unknown as Provider,
  version: '1.0',
  installed: true,
  problem: undefined,
  advice: undefined,
});
const broken = (name: string, installed: boolean): FoundEngine => ({
  ...engine(name),
  ...{
    version: undefined,
    installed,
    problem: `${name} does not work on this machine`,
    advice: installed ? 'Start it.' : undefined,
  },
});
const node = (cluster: string, role: string, state: NodeStatus['state']): NodeStatus => ({
  name: `${cluster}-${role}`,
  cluster,
  role,
  state,
  image: '',
  labels: {},
  ports: [],
});

const config = (without: string[] = []) =>
  ['OVERLAY_FS', 'VETH', 'BRIDGE', 'NF_NAT', 'SECCOMP_FILTER', 'CGROUP_PIDS', 'CFS_BANDWIDTH', 'NF_TABLES']
    .concat(['BRIDGE_NETFILTER', 'VXLAN', 'DUMMY'])
    .filter((option) => !without.includes(option))
    .map((option) => `CONFIG_${option}=y\n`)
    .join('');

const files: Readonly<Record<string, string>> = {
  '/proc/sys/fs/inotify/max_user_instances': '1024',
  '/proc/sys/fs/inotify/max_user_watches': '524288',
  '/proc/config.gz': config(),
};
const now = Date.parse('2026-08-20T10:00:00Z');
const answers = (change = {}) => [{ url: 'https://dl.k8s.io/x', date: now, ...change }];

const linux: Probes = {
  platform: 'linux',
  uid: 1000,
  folder: '/cache',
  now: () => now,
  memory: async () => ({ total: 16 * GiB, available: 8 * GiB }),
  freeDisk: async () => 100 * GiB,
  readText: async (path) => files[path],
  run: async () => said(''),
  engines: async () => [engine('podman')],
  nodes: async () => [],
  store: async () => undefined,
  upstreams: async () => answers(),
};
const withFile = (path: string, text: string | undefined): Partial<Probes> => ({
  readText: async (asked) => (asked === path ? text : files[asked]),
});

const status = (change: object = {}) =>
  JSON.stringify({
    status: 'running',
    apiServerVersion: 'container-apiserver version 1.2.2',
    appRoot: '/Users/me/app/',
    ...change,
  });
const macAnswers: Readonly<Record<string, ReturnType<typeof said>>> = {
  sw_vers: said('26.5.1\n'),
  '--version': said('container CLI version 1.2.2 (build: release)\n'),
  system: said(status()),
  readlink: said('/Users/me/app/kernels/vmlinux-6.18.15-186\n'),
};
const answering = (change: typeof macAnswers = {}): Probes['run'] => {
  const all = { ...macAnswers, ...change };
  return async ([program = '', first = '']) => all[program] ?? all[first] ?? said('');
};
const mac: Probes = { ...linux, platform: 'darwin', engines: async () => [engine('apple')], run: answering() };

const find = (id: string): DoctorCheck => doctorChecks.find((check) => check.id === id)!;
const outcome = async (id: string, probes: Probes) => (await examine([find(id)], probes))[0]!;

test.each([
  ['Linux', linux],
  ['Mac', mac],
])('a healthy %s has only ok findings', async (_name, probes) => {
  const findings = await examine(doctorChecks, probes);
  expect(findings.filter(({ state }) => state !== 'ok')).toEqual([]);
  expect(exitCode(findings)).toBe(0);
});

test('checks of other systems are skipped', async () => {
  const ids = async (probes: Probes) => (await examine(doctorChecks, probes)).map(({ id }) => id);
  expect((await ids(linux)).filter((id) => /apple|macos/.test(id))).toEqual([]);
  expect(await ids(mac)).not.toContain('inotify');
});

type Case = [id: string, what: string, state: State, change: Partial<Probes>, advice: string];
const cases: Case[] = [
  [
    'engines',
    'none is installed',
    'fail',
    { engines: async () => [broken('docker', false)] },
    'Install podman or docker',
  ],
  ['engines', 'none works', 'fail', { engines: async () => [broken('docker', true)] }, 'Start it.'],
  [
    'engines',
    'one of two works',
    'warn',
    { engines: async () => [broken('docker', true), engine('podman')] },
    'Start it.',
  ],
  [
    'cgroups',
    'v1',
    'warn',
    { engines: async () => [engine('podman', { cgroupVersion: 1 })] },
    'unified_cgroup_hierarchy',
  ],
  [
    'cgroups',
    'v1 without root',
    'fail',
    { engines: async () => [engine('podman', { cgroupVersion: 1, rootless: true })] },
    'as root',
  ],
  [
    'cgroups',
    'nothing delegated',
    'fail',
    { engines: async () => [engine('podman', { rootless: true, controllers: ['memory'] })] },
    'Delegate=cpu',
  ],
  ['cgroups', 'no engine', 'unknown', { engines: async () => [] }, 'container engines'],
  [
    'clusters',
    'a stopped one',
    'warn',
    { nodes: async () => [node('a', 'control-plane', 'stopped')] },
    'kina start cluster --name a',
  ],
  [
    'clusters',
    'no control plane',
    'warn',
    { nodes: async () => [node('a', 'worker', 'running')] },
    'kina delete cluster --name a',
  ],
  ['disk', 'nearly full', 'warn', { freeDisk: async () => 5 * GiB }, 'cache prune'],
  ['disk', 'full', 'fail', { freeDisk: async () => GiB }, 'cache prune'],
  [
    'memory',
    'too little for a node',
    'fail',
    { memory: async () => ({ total: GiB, available: GiB }) },
    'at least 4 GiB',
  ],
  ['memory', 'used by others', 'warn', { memory: async () => ({ total: 16 * GiB, available: GiB }) }, 'stop clusters'],
  [
    'inotify',
    'the default of many systems',
    'warn',
    withFile('/proc/sys/fs/inotify/max_user_instances', '128'),
    'sysctl',
  ],
  ['inotify', 'no /proc', 'unknown', { readText: async () => undefined }, '/proc'],
  ['kernel', 'no overlayfs', 'fail', withFile('/proc/config.gz', config(['OVERLAY_FS'])), 'another kernel'],
  [
    'kernel',
    'no packet filter of either kind',
    'fail',
    withFile('/proc/config.gz', config(['NF_TABLES'])),
    'another kernel',
  ],
  ['kernel', 'no VXLAN', 'warn', withFile('/proc/config.gz', config(['VXLAN'])), 'Only some pod networks'],
  ['kernel', 'one that says nothing', 'unknown', { readText: async () => undefined }, 'modprobe overlay'],
  [
    'upstreams',
    'unreachable',
    'fail',
    { upstreams: async () => answers({ problem: 'unknown host name' }) },
    'HTTPS_PROXY',
  ],
  ['clock', 'an hour behind', 'fail', { now: () => now - 3_600_000 }, 'timedatectl'],
  ['clock', 'a minute ahead', 'warn', { now: () => now + 60_000 }, 'timedatectl'],
  ['clock', 'nothing to compare with', 'unknown', { upstreams: async () => [] }, 'by hand'],
];

test.each(cases)('%s: %s is %s', async (id, _what, state, change, advice) => {
  const found = await outcome(id, { ...linux, ...change });
  expect(found).toMatchObject({ state, advice: expect.stringContaining(advice) });
});

const macCases: Case[] = [
  ['macos', '14', 'fail', { run: answering({ sw_vers: said('14.7\n') }) }, 'macOS 15'],
  ['macos', '15: one node', 'warn', { run: answering({ sw_vers: said('15.6\n') }) }, 'one node'],
  ['macos', 'none', 'unknown', { run: answering({ sw_vers: said('') }) }, 'macOS 26'],
  [
    'apple-container',
    'the dead release',
    'fail',
    { run: answering({ '--version': said('container CLI version 1.2.0\n') }) },
    '/proc/sys',
  ],
  [
    'apple-container',
    'a service that is down',
    'fail',
    { run: answering({ system: said(status({ status: 'unregistered' }), 1) }) },
    'system start',
  ],
  [
    'apple-container',
    'half an upgrade',
    'warn',
    { run: answering({ '--version': said('container CLI version 1.4.1\n') }) },
    'Complete the upgrade',
  ],
  ['apple-container', 'a version without a number', 'unknown', { run: answering({ '--version': said('?') }) }, '1.2.1'],
  ['apple-kernel', 'none', 'fail', { run: answering({ readlink: said('', 1) }) }, 'enable-kernel-install'],
  [
    'apple-kernel',
    'the first one, which upgrades keep',
    'warn',
    { run: answering({ readlink: said('/k/vmlinux-6.12.28-153\n') }) },
    'kernel set --recommended',
  ],
  [
    'apple-kernel',
    'a service that is down',
    'unknown',
    { run: answering({ system: said(status({ appRoot: '' }), 1) }) },
    'system start',
  ],
  ['engines', 'no container', 'fail', { engines: async () => [broken('apple', false)] }, "Apple's container"],
];
test.each(macCases)('on a Mac, %s: %s is %s', async (id, _what, state, change, advice) => {
  const found = await outcome(id, { ...mac, ...change });
  expect(found).toMatchObject({ state, advice: expect.stringContaining(advice) });
});

test('the kernel of a running node is checked', async () => {
  const running = engine('apple', {}, said(`6.12.28\n${config(['VXLAN'])}`));
  const probes = { ...mac, engines: async () => [running], nodes: async () => [node('a', 'control-plane', 'running')] };
  expect(await outcome('apple-kernel', probes)).toMatchObject({
    state: 'warn',
    found: 'Linux 6.12.28 of a-control-plane lacks VXLAN',
  });
});

describe('the store', () => {
  test('is complete, or an image lacks a blob', async () => {
    const store = await newStore();
    const { index, layer } = await smallImage(store, ['amd64']);
    await store.tag('localhost/kina/node:v1', index);
    expect(await outcome('store', { ...linux, store: async () => store })).toMatchObject({
      state: 'ok',
      found: '1 images, all complete',
    });
    await rm(store.blobPath(layer.digest));
    expect(await outcome('store', { ...linux, store: async () => store })).toMatchObject({
      state: 'fail',
      found: expect.stringContaining('localhost/kina/node:v1: missing blob sha256:'),
    });
  });
});

test('every check has a case that breaks it', () => {
  const covered = new Set([...cases, ...macCases].map(([id]) => id)).add('store');
  expect(doctorChecks.map(({ id }) => id).filter((id) => !covered.has(id))).toEqual([]);
});

test('a check that fails is unknown, and the others run', async () => {
  const probes = {
    ...linux,
    freeDisk: async () => {
      throw new KinaError('provider', 'it does not say', { details: ['statfs'], hint: 'Ask it.' });
    },
  };
  const findings = await examine([find('disk'), find('memory')], probes);
  expect(findings).toMatchObject([
    { state: 'unknown', found: 'it does not say: statfs', advice: 'Ask it.' },
    { state: 'ok' },
  ]);
});

test.each([
  [['ok', 'warn'], 0],
  [['ok', 'unknown'], 2],
  [['unknown', 'fail'], 1],
] as [State[], number][])('%j is exit code %d', (states, code) => {
  expect(exitCode(states.map((state) => ({ id: '', title: '', found: '', state })))).toBe(code);
});
