/**
 * Containers: made, booted and removed one after the other, with an address that is another one at every start, without
 * names for each other, and with /etc/hosts written anew by podman before every boot.
 */
import { existsSync } from 'node:fs';
import type { Call } from './grammar.ts';
import { findStored, normalized } from './images.ts';
import { compact, pretty } from './json.ts';
import { createNetwork, now } from './networks.ts';
import { mustPodman, podman } from './podman.ts';
import { failure } from './refusal.ts';
import { publishedSockets, relaySockets, sharedFolders, virtiofs } from './shares.ts';
import { change, ownName, type Published, prefix, read, type StoredContainer, type StoredImage } from './state.ts';

/** What podman knows of one. */
interface Running {
  readonly running: boolean;
  readonly address: string | undefined;
}

const only = (call: Call, name: string): string | undefined => call.options[name]?.at(-1);
const every = (call: Call, name: string): readonly string[] => call.options[name] ?? [];

/** Checks in the order of the real ones: the name, the image, the network, then what is told to the runtime. */
function wanted(call: Call, macos: number): StoredContainer {
  const [reference = ''] = call.positional;
  const name = only(call, 'name') ?? `stand-in-${process.pid}`;
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{1,62}$/.test(name))
    throw failure(`container ID ${name} is not a valid container ID`);
  const state = read();
  if (state.containers[name])
    throw failure(
      call.command === 'run' ? `container with id ${name} already exists` : `container already exists: ${name}`,
    );
  const platform = only(call, 'platform') ?? process.env.CONTAINER_DEFAULT_PLATFORM ?? 'linux/arm64';
  const [os = '', architecture = '', variant] = platform.split('/');
  const image = findStored(reference);
  if (!image) throw failure(`the stand-in pulls nothing: ${normalized(reference)}`);
  const has = (image.variant as { platform: { architecture: string } }).platform;
  if (has.architecture !== architecture) throw failure(`platform ${platform}`);
  const kernel = only(call, 'kernel');
  if (kernel !== undefined && !existsSync(kernel)) throw failure(`kernel file not found at path ${kernel}`);
  const memory = bytes(only(call, 'memory') ?? '1g');
  if (memory < 200 * 2 ** 20) throw failure(`minimum memory amount allowed is 200 MiB (got ${memory} bytes)`);
  const cpus = only(call, 'cpus') ?? '4';
  if (!/^\d+$/.test(cpus)) throw failure(`invalid cpus ${cpus}`);
  const folders = sharedFolders(every(call, 'volume'));
  const sockets = publishedSockets(every(call, 'publish-socket'));
  const all = ['cap-add', 'masked-path', 'read-only-path'].map((option) => every(call, option).at(-1));
  const privileged = all.join() === 'ALL,NONE,NONE';
  if (!privileged && all.some(Boolean)) throw failure('the stand-in knows all rights or none');
  return {
    name,
    reference,
    cpus: Number(cpus),
    memory,
    privileged,
    created: now(),
    labels: Object.fromEntries(every(call, 'label').map(label)),
    network: network(every(call, 'network'), macos),
    ports: published(every(call, 'publish')),
    platform: { os, architecture, ...(architecture === 'arm64' && !variant ? { variant: 'v8' } : {}) },
    environment: every(call, 'env'),
    rosetta: call.options.rosetta !== undefined,
    folders,
    sockets,
  };
}

/** A second `=` is an error. */
function label(text: string): [string, string] {
  const parts = text.split('=');
  if (parts.length !== 2) throw failure(`invalid label format ${text}`);
  return [parts[0]!, parts[1]!];
}

function network(given: readonly string[], macos: number): StoredContainer['network'] {
  if (given.length > 1) throw failure('the stand-in gives one network to a container');
  const [name = '', ...options] = (given[0] ?? 'default').split(',');
  if (name !== 'default' && macos < 26) throw failure('non-default network configuration requires macOS 26 or newer');
  if (name !== 'default' && !read().networks[name]) throw failure(`network ${name} not found`);
  const mtu = Number(options.find((one) => one.startsWith('mtu='))?.slice(4) ?? 1280);
  if (!(mtu >= 1280 && mtu <= 65535)) throw failure(`invalid mtu ${mtu}`);
  return { name, mtu };
}

/** `[ip:]hp:cp[/proto]`; one host port once, whatever the address. */
function published(given: readonly string[]): Published[] {
  const ports = given.map((text): Published => {
    const match = /^(?:(\[[0-9a-f:]+\]|[\d.]+):)?(\d+):(\d+)(?:\/(tcp|udp))?$/.exec(text);
    if (!match) throw failure(`invalid publish value: ${text}`);
    const [, address = '0.0.0.0', hostPort, containerPort, proto = 'tcp'] = match;
    if (Number(hostPort) === 0) throw failure('invalid publish host port range: 0');
    return {
      hostAddress: address.replace(/^\[|\]$/g, ''),
      hostPort: Number(hostPort),
      containerPort: Number(containerPort),
      proto: proto as 'tcp' | 'udp',
      count: 1,
    };
  });
  if (new Set(ports.map(({ hostPort }) => hostPort)).size < ports.length)
    throw failure('host ports for different publish port specs may not overlap');
  return ports;
}

function bytes(text: string): number {
  const match = /^(\d+)([kmgt]?)b?$/i.exec(text);
  if (!match) throw failure(`invalid memory ${text}`);
  return Number(match[1]) * 1024 ** ' kmgt'.indexOf(match[2]!.toLowerCase() || ' ');
}

/** `run --detach` and `create`: the second leaves it for `start`. */
export async function create(call: Call, macos: number): Promise<string> {
  if (call.command === 'run' && !call.options.detach) throw new Error('the stand-in runs detached only');
  const container = wanted(call, macos);
  if (container.network.name === 'default' && !read().networks.default)
    await createNetwork('stand-in-default', { labels: [], subnet: undefined }).catch(() => {});
  await change((state) => {
    state.containers[container.name] = container;
  });
  const own = ownName(container.name);
  const image = findStored(container.reference)!;
  const stopSignal = stopSignalOf(image);
  // A guest mounts its own: systemd what it needs for a tmpfs, and no other program has one.
  const systemd = ['--systemd=always', '--tmpfs=/tmp', '--tmpfs=/run', '--env=container=podman'];
  const machine = [
    '--privileged',
    '--cgroupns=private',
    `--stop-signal=${stopSignal}`,
    `--volume=${own}-var:/var:suid,exec,dev`,
    ...(stopSignal === systemdStop ? systemd : []),
  ];
  const made = await podman([
    'create',
    '--pull=never',
    `--name=${own}`,
    `--hostname=${container.name.split('.')[0]}`,
    `--network=${ownName(container.network.name === 'default' ? 'stand-in-default' : container.network.name)}`,
    `--label=kina-stand-in=${prefix}`,
    ...(container.privileged ? machine : []),
    ...every(call, 'env').map((one) => `--env=${one}`),
    ...every(call, 'volume').map((one) => `--volume=${one}`),
    ...container.ports.map(publishFlag),
    image.own,
    ...call.guest,
  ]);
  if (made.code !== 0) throw new Error(made.stderr);
  if (call.command === 'run') await boot(container.name);
  return `${container.name}\n`;
}

const systemdStop = 'SIGRTMIN+3';

function stopSignalOf({ variant }: StoredImage): string {
  const { config } = variant as { config?: { config?: { StopSignal?: string } } };
  return config?.config?.StopSignal ?? 'SIGTERM';
}

function publishFlag({ hostAddress, hostPort, containerPort, proto }: Published): string {
  const address = hostAddress.includes(':') ? `[${hostAddress}]` : hostAddress;
  return `--publish=${address}:${hostPort}:${containerPort}/${proto}`;
}

async function boot(name: string): Promise<void> {
  const started = await podman(['start', ownName(name)]);
  if (started.code === 0) {
    const { sockets } = read().containers[name]!;
    if (sockets.length > 0) await relaySockets(sockets, await firstProcess(name));
    return change((state) => {
      state.containers[name]!.started = now();
    });
  }
  const cause = /address already in use/i.test(started.stderr)
    ? `unknown: "bind(descriptor:ptr:bytes:): Address already in use (errno: 48)"`
    : `internalError: "${started.stderr.trim()}"`;
  throw failure(
    `failed to bootstrap container (cause: "internalError: "failed to bootstrap container ${name} (cause: "${cause}")"")`,
  );
}

/** Its number on this host. */
async function firstProcess(name: string): Promise<number> {
  return Number(await mustPodman(['inspect', '--type=container', '--format={{.State.Pid}}', ownName(name)]));
}

export async function start(name: string): Promise<string> {
  if (!read().containers[name]) throw failure(`get failed: container ${name} not found`);
  if (!(await podmanKnows()).get(name)?.running) await boot(name);
  return `${name}\n`;
}

export async function stop(call: Call): Promise<string> {
  const { containers } = read();
  if (call.positional.length === 0) throw failure('no containers specified and --all not supplied');
  for (const name of call.positional) if (!containers[name]) throw lost('stop', name);
  await Promise.all(
    call.positional.map((name) => mustPodman(['stop', `--time=${only(call, 'time') ?? 5}`, ownName(name)])),
  );
  return call.positional.map((one) => `${one}\n`).join('');
}

const lost = (verb: string, name: string, before = '') =>
  failure(
    `internalError: "failed to ${verb} container" (cause: "notFound: "container with ID ${name} not found"")`,
    before,
  );

export async function remove(call: Call): Promise<string> {
  const known = await podmanKnows();
  let gone = '';
  for (const name of call.positional) {
    if (!read().containers[name]) throw lost('delete', name, gone);
    if (!call.options.force && known.get(name)?.running)
      throw failure(
        `internalError: "failed to delete container" (cause: "invalidState: "container ${name} is running and can not be deleted"")`,
        gone,
      );
    const own = ownName(name);
    const removed = await podman(['rm', '--force', '--volumes', '--time=5', own]);
    if (removed.code !== 0 && !/no such container|no container with/i.test(removed.stderr))
      throw new Error(removed.stderr);
    await podman(['volume', 'rm', '--force', `${own}-var`]);
    await change((state) => {
      delete state.containers[name];
    });
    gone += `${name}\n`;
  }
  return gone;
}

/** By the stand-in's names; one call, whatever there is. */
async function podmanKnows(): Promise<Map<string, Running>> {
  const ids = (await mustPodman(['ps', '--all', '--quiet', `--filter=label=kina-stand-in=${prefix}`]))
    .split('\n')
    .filter(Boolean);
  if (ids.length === 0) return new Map();
  type Inspected = {
    Name: string;
    State: { Running: boolean };
    NetworkSettings: { Networks?: Record<string, { IPAddress?: string }> };
  };
  const found = JSON.parse(await mustPodman(['inspect', '--type=container', ...ids])) as Inspected[];
  return new Map(
    found.map(({ Name, State, NetworkSettings }) => [
      Name.slice(prefix.length + 1),
      { running: State.Running, address: Object.values(NetworkSettings.Networks ?? {})[0]?.IPAddress || undefined },
    ]),
  );
}

function resource(container: StoredContainer, now: Running | undefined): unknown {
  const { name, created, started, labels, network, ports, cpus, memory, platform, privileged, environment } = container;
  const image = findStored(container.reference);
  const gateway = (address: string) => address.replace(/\.\d+$/, '.1');
  return {
    id: name,
    configuration: {
      ...(privileged ? { capAdd: ['ALL'], maskedPaths: [], readonlyPaths: [] } : { capAdd: [] }),
      capDrop: [],
      creationDate: created,
      dns: { nameservers: [], options: [], searchDomains: [] },
      id: name,
      image: {
        descriptor: image?.descriptor ?? { digest: '', mediaType: '', size: 0 },
        reference: container.reference,
      },
      initProcess: {
        ...{
          arguments: [],
          environment,
          executable: '/usr/local/bin/entrypoint',
          supplementalGroups: [],
          terminal: false,
        },
        rlimits: [{ limit: 'RLIMIT_NOFILE', soft: 1048576, hard: 1048576 }],
        user: { id: { gid: 0, uid: 0 } },
        workingDirectory: '/',
      },
      labels,
      mounts: container.folders.map(virtiofs),
      networks: [{ network: network.name, options: { hostname: name, mtu: network.mtu } }],
      platform,
      publishedPorts: ports,
      publishedSockets: container.sockets,
      readOnly: false,
      resources: { cpuOverhead: 1, cpus, memoryInBytes: memory },
      ...{
        rosetta: container.rosetta,
        runtimeHandler: 'container-runtime-linux',
        ssh: false,
        stopSignal: image ? stopSignalOf(image) : undefined,
        sysctls: {},
      },
      useInit: false,
      virtualization: false,
    },
    status: {
      networks:
        now?.running && now.address
          ? [
              {
                hostname: name,
                ipv4Address: `${now.address}/24`,
                ipv4Gateway: gateway(now.address),
                ...{
                  ipv6Address: 'fd65:90a0:b1c2:d3e4:f01a:7cff:fe03:5b91/64',
                  mtu: network.mtu,
                  network: network.name,
                },
                macAddress: 'f2:1a:7c:03:5b:91',
                variant: 'reserved',
              },
            ]
          : [],
      startedDate: started,
      state: now?.running ? 'running' : 'stopped',
    },
  };
}

export async function listContainers(call: Call): Promise<string> {
  const known = await podmanKnows();
  const { containers } = read();
  const shown = Object.values(containers).filter(({ name }) => call.options.all || known.get(name)?.running);
  // The real order is not defined: the last made comes first here.
  return compact(shown.reverse().map((one) => resource(one, known.get(one.name))));
}

export async function inspectContainers(names: readonly string[]): Promise<string> {
  const { containers } = read();
  const absent = names.filter((name) => !containers[name]);
  if (absent.length > 0) throw failure(`container not found: ${absent.join(', ')}`);
  const known = await podmanKnows();
  return pretty(names.map((name) => resource(containers[name]!, known.get(name))));
}

/** What podman runs for `exec` and `logs`; refuses what is absent, and for `exec` what is down. */
export async function insideArguments(call: Call): Promise<string[]> {
  const [name = ''] = call.positional;
  const container = read().containers[name];
  if (call.command === 'logs') {
    if (!container)
      throw failure(
        `failed to get logs for container ${name} (cause: "internalError: "failed to open container logs: notFound: "container with ID ${name} not found""")`,
      );
    return ['logs', ...(call.options.n ? [`--tail=${only(call, 'n')}`] : []), ownName(name)];
  }
  if (!container) throw failure(`get failed: container ${name} not found`);
  const state = await podman(['inspect', '--type=container', '--format={{.State.Running}}', ownName(name)]);
  if (state.stdout.trim() !== 'true') throw failure(`container ${name} is not running`);
  return [
    'exec',
    ...(container.privileged ? ['--privileged'] : []),
    ...(call.options.i ? ['--interactive'] : []),
    ...(call.options.t ? ['--tty'] : []),
    ...every(call, 'env').map((one) => `--env=${one}`),
    ownName(name),
    ...call.guest,
  ];
}
