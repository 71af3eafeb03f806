/**
 * The Apple provider against the stand-in for its runtime, as a program of its own, without an engine behind it: what is
 * called, in which order, and what becomes of refusals. Every call is in a list that is reviewed against the reference.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ensureImage } from '../../../src/cluster/image.ts';
import { findSources } from '../../../src/cluster/load/sources.ts';
import { contentsOf } from '../../../src/oci/image/contents.ts';
import { hostPlatform } from '../../../src/oci/platform.ts';
import { Store } from '../../../src/oci/store/store.ts';
import type { NodeSpec, Provider } from '../../../src/provider/provider.ts';
import { providerNamed } from '../../../src/provider/select.ts';
import { parse } from '../../apple/grammar.ts';
import { type AppleStandIn, appleReference, appleStandIn } from '../../support/apple.ts';
import { projectRoot, run } from '../../support/command.ts';
import { describeUnless } from '../../support/requirements.ts';
import { smallImage } from '../../unit/oci/fixture.ts';

const before = { ...process.env };
let standIn: AppleStandIn;
let provider: Provider;
let storeFolder: string;
beforeEach(async () => {
  standIn = appleStandIn({ engine: false });
  Object.assign(process.env, standIn.env);
  provider = providerNamed('apple', 'test');
  storeFolder = await mkdtemp(join(tmpdir(), 'kina-apple-store-'));
});
afterEach(async () => {
  for (const name of Object.keys(process.env)) if (!(name in before)) delete process.env[name];
  Object.assign(process.env, before);
  standIn.close();
  await rm(storeFolder, { recursive: true, force: true });
});

const reference = 'localhost/kina/node:v1';
const spec = (name: string, change: Partial<NodeSpec> = {}): NodeSpec => ({
  name,
  cluster: 'c',
  role: 'worker',
  image: reference,
  network: 'kina-c',
  privileged: true,
  cpus: 2,
  memory: 2048,
  ...change,
});

/** An image of one file, through kina's own way into the runtime. */
async function loadImage(platforms = [hostPlatform().architecture]): Promise<void> {
  const store = await Store.open(storeFolder);
  const { index } = await smallImage(store, platforms);
  await store.tag(reference, index);
  const request = { provider, store, platform: hostPlatform(), signal: new AbortController().signal, say: () => {} };
  await ensureImage(reference, request);
  await ensureImage(reference, request);
}

const architecture = process.arch === 'x64' ? 'amd64' : process.arch;

/** A call as it is in the list: what depends on the machine has a name. */
function shown(call: readonly string[]): string {
  return call
    .map((word) => word.replace(/^--input=.*/, '--input=FILE'))
    .map((word) => word.replace(`linux/${architecture}`, 'linux/ARCH'))
    .map((word) => word.replace(/:\d{4,5}:6443/, ':PORT:6443').replace(/=192\.168\.\d+\.0/, '=192.168.N.0'))
    .map((word) => (/[\s']/.test(word) ? JSON.stringify(word) : word))
    .join(' ');
}

test('every call in the life of a cluster is one that was reviewed', { timeout: 120_000 }, async () => {
  await provider.host();
  await provider.nodes();
  await loadImage();
  const subnets = await provider.ensureNetwork({ name: 'kina-c', ipv6: false, nodes: 2 });
  expect(subnets).toHaveLength(2);
  const api = { address: '127.0.0.1', hostPort: 0, containerPort: 6443, protocol: 'TCP' } as const;
  await Promise.all([
    provider.create(
      spec('c-control-plane', {
        role: 'control-plane',
        ports: [api],
        env: { NO_PROXY: 'a,b' },
        ipv6: true,
        mtu: 1400,
        mounts: [{ source: standIn.folder, target: '/data', readOnly: true }],
        kernel: join(projectRoot, 'package.json'),
        kernelArguments: ['psi=1'],
        rosetta: true,
      }),
    ),
    provider.create(spec('c-worker')),
    provider.create(spec('c-external-load-balancer', { role: 'external-load-balancer', privileged: false })),
  ]);
  expect((await provider.nodes('c')).map(({ name }) => name)).toEqual([
    'c-control-plane',
    'c-external-load-balancer',
    'c-worker',
  ]);
  expect(await provider.exec('c-worker', ['cat'], { input: 'said', env: { A: 'b c' } })).toMatchObject({
    stdout: 'said',
  });
  expect(await provider.exec('c-worker', ['sh', '-c', 'exit3'])).toMatchObject({ code: 3, stderr: 'oops\n' });
  expect(await provider.exec('c-worker', ['kubectx'])).toMatchObject({ code: 127 });
  await provider.logs('c-worker');
  expect(await provider.inspect('c-worker')).toMatchObject({ id: 'c-worker' });
  await provider.info();
  await provider.stop(['c-worker', 'c-control-plane'], 30);
  await provider.start(['c-control-plane', 'c-worker']);
  expect(await provider.removeNetwork('kina-c')).toBe(false);
  await provider.remove(['c-control-plane', 'c-external-load-balancer', 'c-worker', 'c-worker9']);
  expect(await provider.removeNetwork('kina-c')).toBe(true);
  await provider.removeImage(reference);
  const calls = standIn.calls();
  for (const call of calls) if (call[0] !== '--version') parse(call, '1.2.2');
  const list = calls
    .map((call) => shown(call).replaceAll(standIn.folder, 'FOLDER').replaceAll(projectRoot, 'PROJECT'))
    .join('\n');
  await expect(`${list}\n`).toMatchFileSnapshot(join(projectRoot, 'test/apple/calls.txt'));
});

test('nodes are created one after the other, and a failure does not keep the next', { timeout: 60_000 }, async () => {
  await loadImage();
  await provider.ensureNetwork({ name: 'kina-c', ipv6: false });
  const nodes = [spec('c-a'), spec('c-b', { memory: 100 }), spec('c-c')];
  const settled = await Promise.allSettled(nodes.map((one) => provider.create(one)));
  expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect(settled[1]).toMatchObject({ reason: { details: [expect.stringContaining('minimum memory amount')] } });
  const podman = readFileSync(join(standIn.folder, 'podman'), 'utf8').split('\n');
  const order = podman.filter((line) => /^(create|start) /.test(line)).map((line) => line.split(' ')[0]);
  expect(order).toEqual(['create', 'start', 'create', 'start']);
});

describe('what cannot work is said before anything is made', () => {
  const broken = async (env: Record<string, string>, work: (provider: Provider) => Promise<unknown>) => {
    Object.assign(process.env, env);
    const answer = await work(providerNamed('apple', 'test')).catch((error) => error);
    for (const name of Object.keys(env)) delete process.env[name];
    return answer;
  };

  test('a version that cannot run nodes', async () => {
    const error = await broken({ KINA_APPLE_VERSION: '1.2.0' }, (one) => one.host());
    expect(error).toMatchObject({ code: 'provider', message: 'container 1.2.0 cannot run Kubernetes nodes' });
  });

  test('a service that does not run', async () => {
    const error = await broken({ KINA_APPLE_SERVICE: 'unregistered' }, (one) => one.version());
    expect(error).toMatchObject({ hint: 'Start it: `container system start --enable-kernel-install`.' });
    const listed = await broken({ KINA_APPLE_SERVICE: 'unregistered' }, (one) => one.nodes());
    expect(listed).toMatchObject({ code: 'provider', hint: expect.stringContaining('container system start') });
  });

  test('several nodes on macOS 15; one is made without a network', async () => {
    const several = await broken({ KINA_APPLE_MACOS: '15' }, (one) =>
      one.ensureNetwork({ name: 'kina-c', ipv6: false, nodes: 2 }),
    );
    expect(several).toMatchObject({ code: 'platform', hint: expect.stringContaining('macOS 26') });
    await loadImage();
    await broken({ KINA_APPLE_MACOS: '15' }, async (one) => {
      expect(await one.ensureNetwork({ name: 'kina-c', ipv6: false, nodes: 1 })).toEqual([]);
      await one.create(spec('c-control-plane'));
      expect(await one.removeNetwork('kina-c')).toBe(true);
    });
    expect(standIn.calls().find(([command]) => command === 'run')).toContain('--network=default,mtu=1500');
  });
});

test('an overloaded service is asked again', { timeout: 60_000 }, async () => {
  const busy = join(standIn.folder, 'busy');
  writeFileSync(busy, '1');
  process.env.KINA_APPLE_BUSY = busy;
  expect(await provider.nodes()).toEqual([]);
  expect(standIn.calls()).toHaveLength(2);
  await loadImage();
  await provider.ensureNetwork({ name: 'kina-c', ipv6: false });
  // Whether such a run has left something is looked at before the next.
  writeFileSync(busy, '1');
  await provider.create(spec('c-worker'));
  const commands = standIn.calls().map(([command]) => command);
  expect(commands.slice(commands.indexOf('run'))).toEqual(['run', 'list', 'list', 'list', 'list', 'run']);
});

test('an interrupted creation leaves nothing', { timeout: 60_000 }, async () => {
  await loadImage();
  await provider.ensureNetwork({ name: 'kina-c', ipv6: false });
  writeFileSync(join(standIn.folder, 'slow'), '');
  const controller = new AbortController();
  const creation = provider.create(spec('c-worker'), controller.signal);
  while (!existsSync(join(standIn.folder, 'created'))) await new Promise((done) => setTimeout(done, 50));
  controller.abort(new Error('Ctrl-C'));
  await expect(creation).rejects.toThrow('Ctrl-C');
  expect(await provider.nodes()).toEqual([]);
  expect(standIn.calls().at(-2)).toEqual(['delete', '--force', 'c-worker']);
});

test('a network that kina did not create is neither used nor removed', async () => {
  await run(['container', 'network', 'create', 'kina-c'], { env: standIn.env });
  await expect(provider.ensureNetwork({ name: 'kina-c', ipv6: false })).rejects.toMatchObject({ code: 'conflict' });
  await provider.removeNetwork('kina-c');
  expect((await run(['container', 'network', 'inspect', 'kina-c'], { env: standIn.env })).code).toBe(0);
});

test('an image is sent once, with one platform and in the form of the runtime; no file of it stays', {
  timeout: 60_000,
}, async () => {
  await loadImage(['amd64', 'arm64']);
  const loads = standIn.calls().filter((call) => call.slice(0, 2).join(' ') === 'image load');
  expect(loads).toHaveLength(1);
  expect(existsSync(loads[0]![2]!.slice('--input='.length))).toBe(false);
  expect((await provider.image(reference))?.names).toEqual([reference]);
});

test('what the runtime has, kina loads into nodes: the archive that it saves is understood', {
  timeout: 60_000,
}, async () => {
  await loadImage();
  const other = await Store.open(join(storeFolder, 'other'));
  const [source] = await findSources([reference], other, [provider]);
  const [image] = await source!.open([hostPlatform()]);
  expect(image!.names).toEqual([reference]);
  expect((await contentsOf(image!)).platforms).toMatchObject([{ config: { os: 'linux' } }]);
  expect(standIn.calls().at(-1)).toEqual(['image', 'save', `--platform=linux/${architecture}`, reference]);
  await expect(findSources(['localhost/kina/absent:v1'], other, [provider])).rejects.toMatchObject({
    code: 'not-found',
  });
});

describeUnless(appleReference.missing, 'the stand-in', () => {
  type Sample = { id: string; argv: string[]; exitCode: number; stdout: string; stderr: string; match: string };
  /** Of the samples those that an empty runtime can give, and how the stand-in is told to be in their state. */
  const states: Readonly<Record<string, Record<string, string>>> = {
    'inspect-missing': {},
    'start-missing': {},
    'stop-missing': {},
    'delete-missing': {},
    'logs-missing': {},
    'stop-no-args': {},
    'name-invalid': {},
    'image-inspect-missing': {},
    'image-delete-missing': {},
    'image-load-no-file': {},
    'image-save-missing': {},
    'network-inspect-missing': {},
    'network-delete-missing': {},
    'network-create-bad-name': {},
    'network-list-timeout': { KINA_APPLE_BUSY: 'busy' },
    'run-service-down': { KINA_APPLE_SERVICE: 'unregistered' },
    'status-service-down': { KINA_APPLE_SERVICE: 'unregistered' },
    'usage-unknown-option': { KINA_APPLE_VERSION: '1.2.0' },
    'usage-unknown-plugin': {},
    'usage-network-macos15': { KINA_APPLE_MACOS: '15' },
  };

  test('refuses in upstream’s words', { timeout: 120_000 }, async () => {
    const text = readFileSync(join(appleReference.fixtures, 'errors.json'), 'utf8');
    const { samples } = JSON.parse(text) as { samples: Sample[] };
    const busy = join(standIn.folder, 'busy');
    writeFileSync(busy, '9');
    for (const [id, state] of Object.entries(states)) {
      const sample = samples.find((one) => one.id === id)!;
      const env = state.KINA_APPLE_BUSY ? { KINA_APPLE_BUSY: busy } : state;
      const { code, stdout, stderr } = await run(sample.argv, { env: { ...standIn.env, ...env } });
      expect({ id, code, stdout }).toEqual({ id, code: sample.exitCode, stdout: sample.stdout });
      expect(`${stdout}${stderr}`).toContain(sample.match);
    }
  });
});
