/**
 * docker and podman as one provider. Their differences are a table for each engine (`EngineDifferences`). Both print the
 * same JSON for `inspect`, and kina reads nothing else, except messages that tell a missing object from other failures.
 *
 * One `inspect` returns all nodes, so the number of engine calls does not grow with the size of a cluster.
 */

import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import type { Readable } from 'node:stream';
import { KinaError } from '../host/errors.ts';
import { lastLines, type ProcessOptions, type ProcessResult, run, start } from '../host/process.ts';
import {
  type Capabilities,
  type EngineHost,
  type EngineImage,
  type NetworkSpec,
  type NodeMount,
  type NodePort,
  type NodeSpec,
  type NodeStatus,
  nodeLabels,
  type Provider,
  type ProviderName,
  type SandboxSpec,
} from './provider.ts';

export interface EngineDifferences {
  readonly name: ProviderName;
  /** The program and the flags of every call. */
  readonly program: readonly string[];
  /** Hint for an engine that does not answer. */
  readonly hint: string;
  /** Additional flags of a privileged node. */
  readonly privileged: readonly string[];
  /** Flags that restart a node after a reboot of the host, if the engine can do that. */
  readonly restart: readonly string[];
  readonly networkOptions: readonly string[];
  /** Option of the network driver for the MTU. */
  readonly mtuOption: string;
  /** Flags that create a volume at a path, filled from the image; `rm --volumes` removes it. */
  storage(path: string): readonly string[];
  publish(port: NodePort): string;
  readonly stopTimeout: string;
  /** Decodes the output of `info`. */
  host(info: unknown): EngineHost;
  /** Arguments for `Provider.saveLayout`. */
  saveLayout?(reference: string, folder: string): readonly string[];
  /** The form of a reference that this engine finds. */
  reference(name: string): string;
}

/** The fields of `inspect` that kina reads, for both engines. */
interface Inspected {
  Name: string;
  State: { Running: boolean };
  ImageName?: string;
  Config: { Image: string; Labels?: Record<string, string> | null };
  NetworkSettings: {
    Networks?: Record<string, { IPAddress?: string; GlobalIPv6Address?: string }> | null;
    Ports?: Record<string, { HostIp: string; HostPort: string }[] | null> | null;
  };
}

const absent =
  /no such (container|object|network|image)|not found|no container with (name|ID)|network.*not found|image not known/i;

export class EngineProvider implements Provider {
  readonly name: ProviderName;
  readonly capabilities: Capabilities = {
    nodeKernel: false,
    rosetta: false,
    fixedSandboxSize: false,
    mountPropagation: true,
  };
  readonly archive = 'docker-archive';
  readonly saveLayout?: Provider['saveLayout'];
  readonly #engine: EngineDifferences;

  constructor(engine: EngineDifferences) {
    this.name = engine.name;
    this.#engine = engine;
    if (engine.saveLayout)
      this.saveLayout = async (reference, folder, signal) => {
        await this.#call(engine.saveLayout!(engine.reference(reference), folder), { signal });
      };
  }

  #run(args: readonly string[], options?: ProcessOptions): Promise<ProcessResult> {
    return run([...this.#engine.program, ...args], options);
  }

  /** Runs a call that must succeed. Returns its standard output. */
  async #call(args: readonly string[], options?: ProcessOptions): Promise<string> {
    const result = await this.#run(args, options);
    if (result.code !== 0) throw this.#failure(args, result);
    return result.stdout;
  }

  /** Undefined when an object does not exist. */
  async #inspect<T>(args: readonly string[]): Promise<T[] | undefined> {
    const result = await this.#run(args);
    if (result.code === 0) return JSON.parse(result.stdout);
    if (absent.test(result.stderr)) return undefined;
    throw this.#failure(args, result);
  }

  #failure(args: readonly string[], result: ProcessResult): KinaError {
    const said = lastLines(result.stderr || result.stdout, 8);
    return new KinaError(
      'provider',
      `\`${this.name} ${args.slice(0, 2).join(' ')}\` failed with exit code ${result.code}`,
      {
        details: said,
        hint: hintFor(said.join('\n')) ?? this.#engine.hint,
      },
    );
  }

  async version(): Promise<string> {
    const result = await this.#run(['version', '--format', '{{json .}}'], { timeout: 20_000 });
    if (result.code !== 0)
      throw new KinaError('provider', `${this.name} does not work on this machine`, {
        details: lastLines(result.stderr || result.stdout, 4),
        hint: this.#engine.hint,
      });
    const answer = JSON.parse(result.stdout) as { Server?: { Version?: string } | null; Client?: { Version?: string } };
    return answer.Server?.Version ?? answer.Client?.Version ?? 'unknown';
  }

  async nodes(cluster?: string): Promise<NodeStatus[]> {
    return this.#labelled(cluster === undefined ? nodeLabels.cluster : `${nodeLabels.cluster}=${cluster}`);
  }

  sandboxes(service: string): Promise<NodeStatus[]> {
    return this.#labelled(`${nodeLabels.service}=${service}`);
  }

  async #labelled(filter: string): Promise<NodeStatus[]> {
    const listed = await this.#call(['ps', '--all', '--quiet', '--no-trunc', '--filter', `label=${filter}`]);
    const ids = listed.split('\n').filter(Boolean);
    if (ids.length === 0) return [];
    // When a container is removed between the two calls, `inspect` fails for all of them: start again.
    const found = await this.#inspect<Inspected>(['inspect', '--type', 'container', ...ids]);
    if (!found) return this.#labelled(filter);
    return found.map(nodeStatus).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async create(spec: NodeSpec, signal?: AbortSignal): Promise<void> {
    await this.#call(this.#createArguments(spec), { signal });
  }

  async createSandbox(spec: SandboxSpec, signal?: AbortSignal): Promise<void> {
    const engine = this.#engine;
    const labels = { [nodeLabels.service]: spec.service, ...spec.labels };
    const sockets = spec.sockets.map(({ host, inside }) => ({ source: dirname(host), target: dirname(inside) }));
    await this.#call(
      [
        'run',
        '--detach',
        '--name',
        spec.name,
        '--hostname',
        spec.hostname,
        '--network',
        spec.network,
        '--privileged',
        '--cgroupns=private',
        ...engine.storage(spec.storage),
        ...labelFlags(labels),
        ...sizeFlags(spec),
        ...[...(spec.mounts ?? []), ...sockets].flatMap(volume),
        ...(spec.ports ?? []).flatMap((port) => ['--publish', engine.publish(port)]),
        engine.reference(spec.image),
      ],
      { signal },
    );
  }

  #createArguments(spec: NodeSpec): string[] {
    const engine = this.#engine;
    const labels = { [nodeLabels.cluster]: spec.cluster, [nodeLabels.role]: spec.role, ...spec.labels };
    return [
      'run',
      '--detach',
      '--tty',
      '--name',
      spec.name,
      '--hostname',
      spec.name,
      '--network',
      spec.network,
      ...labelFlags(labels),
      ...engine.restart,
      // systemd needs a writable /run, and tools a /tmp. /var must not be on the overlay of the container: containerd
      // cannot mount an overlay on an overlay
      ...(spec.privileged
        ? ['--privileged', '--cgroupns=private', '--tmpfs', '/tmp', '--tmpfs', '/run', ...engine.privileged]
        : []),
      ...(spec.privileged ? engine.storage('/var') : []),
      ...(spec.ipv6
        ? ['--sysctl', 'net.ipv6.conf.all.disable_ipv6=0', '--sysctl', 'net.ipv6.conf.all.forwarding=1']
        : []),
      ...(spec.devices ?? []).flatMap((device) => ['--device', device]),
      ...sizeFlags(spec),
      ...Object.entries(spec.env ?? {}).flatMap(([key, value]) => ['--env', `${key}=${value}`]),
      ...(spec.mounts ?? []).flatMap(volume),
      ...(spec.ports ?? []).flatMap((port) => ['--publish', engine.publish(port)]),
      engine.reference(spec.image),
    ];
  }

  async start(names: readonly string[]): Promise<void> {
    if (names.length > 0) await this.#call(['start', ...names]);
  }

  async stop(names: readonly string[], seconds: number): Promise<void> {
    if (names.length > 0) await this.#call(['stop', this.#engine.stopTimeout, String(seconds), ...names]);
  }

  async remove(names: readonly string[]): Promise<void> {
    if (names.length === 0) return;
    const removal = ['rm', '--force', '--volumes', ...names];
    const result = await this.#run(removal);
    if (result.code !== 0 && !lastLines(result.stderr, 100).every((line) => absent.test(line)))
      throw this.#failure(removal, result);
  }

  exec(node: string, argv: readonly string[], options: Parameters<Provider['exec']>[2] = {}): Promise<ProcessResult> {
    const { env = {}, ...rest } = options;
    const variables = Object.entries(env).flatMap(([key, value]) => ['--env', `${key}=${value}`]);
    const input = options.input === undefined ? [] : ['--interactive'];
    return this.#run(['exec', '--privileged', ...input, ...variables, node, ...argv], rest);
  }

  stream(node: string, argv: readonly string[], signal?: AbortSignal) {
    return start([...this.#engine.program, 'exec', '--privileged', node, ...argv], { signal });
  }

  attach(node: string, argv: readonly string[]): Promise<number> {
    const [program = '', ...flags] = this.#engine.program;
    const terminal = process.stdin.isTTY && process.stdout.isTTY ? ['--tty'] : [];
    const child = spawn(program, [...flags, 'exec', '--privileged', '--interactive', ...terminal, node, ...argv], {
      stdio: 'inherit',
    });
    return new Promise((done, failed) => {
      child.once('error', failed);
      child.once('exit', (code, signal) => done(code ?? (signal ? 130 : 1)));
    });
  }

  async logs(node: string): Promise<string> {
    const result = await this.#run(['logs', node]);
    return result.stdout + result.stderr;
  }

  async inspect(node: string): Promise<unknown> {
    return (await this.#inspect(['inspect', '--type', 'container', node]))?.[0];
  }

  async info(): Promise<unknown> {
    return JSON.parse(await this.#call(['info', '--format', '{{json .}}']));
  }

  async host(): Promise<EngineHost> {
    return this.#engine.host(await this.info());
  }

  async ensureNetwork({ name, ipv6, mtu }: NetworkSpec): Promise<readonly string[]> {
    const labels = ['--label', `${nodeLabels.cluster}=${name}`];
    const { networkOptions, mtuOption } = this.#engine;
    const size = mtu === undefined ? [] : ['--opt', `${mtuOption}=${mtu}`];
    const create = ['network', 'create', '--driver', 'bridge', ...networkOptions, ...size, ...labels];
    for (let attempt = 0; ; attempt++) {
      const flags = ipv6 ? ['--ipv6', '--subnet', uniqueLocalSubnet(name, attempt)] : [];
      const result = await this.#run([...create, ...flags, name]);
      if (result.code === 0 || /already exists/i.test(result.stderr)) break;
      // The subnet may be in use, e.g. by a network of the same name on another engine.
      if (!ipv6 || attempt === 4 || !/overlap|already (being )?used/i.test(result.stderr))
        throw this.#failure(create, result);
    }
    return (await this.#subnets(name)) ?? [];
  }

  async #subnets(name: string): Promise<string[] | undefined> {
    type Network = { IPAM?: { Config?: { Subnet: string }[] | null }; subnets?: { subnet: string }[] };
    const [network] = (await this.#inspect<Network>(['network', 'inspect', name])) ?? [];
    if (!network) return undefined;
    return [
      ...(network.IPAM?.Config ?? []).map((one) => one.Subnet),
      ...(network.subnets ?? []).map((one) => one.subnet),
    ];
  }

  async removeNetwork(name: string): Promise<boolean> {
    const removal = ['network', 'rm', name];
    const result = await this.#run(removal);
    if (result.code === 0 || absent.test(result.stderr)) return true;
    if (/in use|has active endpoints|being used/i.test(result.stderr)) return false;
    throw this.#failure(removal, result);
  }

  async image(reference: string): Promise<EngineImage | undefined> {
    type Image = {
      Id: string;
      Architecture: string;
      RepoTags?: string[] | null;
      Config?: { Labels?: EngineImage['labels'] | null };
    };
    const [image] = (await this.#inspect<Image>(['image', 'inspect', this.#engine.reference(reference)])) ?? [];
    if (!image) return undefined;
    return {
      config: image.Id.startsWith('sha256:') ? image.Id : `sha256:${image.Id}`,
      architecture: image.Architecture,
      names: image.RepoTags ?? [],
      labels: image.Config?.Labels ?? {},
    };
  }

  async pull(reference: string, platform: string, signal?: AbortSignal): Promise<void> {
    await this.#call(['pull', '--quiet', '--platform', platform, this.#engine.reference(reference)], { signal });
  }

  async removeImage(reference: string): Promise<void> {
    const removal = ['image', 'rm', this.#engine.reference(reference)];
    const result = await this.#run(removal);
    if (result.code !== 0 && !absent.test(result.stderr)) throw this.#failure(removal, result);
  }

  async load(archive: Readable, signal?: AbortSignal): Promise<void> {
    await this.#call(['load'], { input: archive, signal });
  }

  save(references: readonly string[], signal?: AbortSignal) {
    const names = references.map((one) => this.#engine.reference(one));
    return start([...this.#engine.program, 'save', ...names], { signal });
  }
}

const labelFlags = (labels: Readonly<Record<string, string>>): string[] =>
  Object.entries(labels).flatMap(([key, value]) => ['--label', `${key}=${value}`]);

const sizeFlags = ({ cpus, memory }: Pick<NodeSpec, 'cpus' | 'memory'>): string[] => [
  ...(cpus ? ['--cpus', String(cpus)] : []),
  ...(memory ? ['--memory', `${memory}m`] : []),
];

function volume(mount: NodeMount): string[] {
  const options = [
    mount.readOnly ? 'ro' : '',
    mount.relabel ? 'Z' : '',
    { HostToContainer: 'rslave', Bidirectional: 'rshared', None: '' }[mount.propagation ?? 'None'],
  ].filter(Boolean);
  return ['--volume', [mount.source, mount.target, ...(options.length ? [options.join(',')] : [])].join(':')];
}

function nodeStatus(container: Inspected): NodeStatus {
  const labels = container.Config.Labels ?? {};
  const networks = Object.values(container.NetworkSettings.Networks ?? {});
  const running = container.State.Running;
  return {
    name: container.Name.replace(/^\//, ''),
    cluster: labels[nodeLabels.cluster] ?? '',
    role: labels[nodeLabels.role] ?? '',
    state: running ? 'running' : 'stopped',
    image: container.ImageName ?? container.Config.Image,
    labels,
    ipv4: networks.map((one) => one.IPAddress).find(Boolean) || undefined,
    ipv6: networks.map((one) => one.GlobalIPv6Address).find(Boolean) || undefined,
    ports: Object.entries(container.NetworkSettings.Ports ?? {}).flatMap(([key, bindings]) => {
      const [port = '', protocol = 'tcp'] = key.split('/');
      return (bindings ?? []).map((binding) => ({
        // podman omits the address for all addresses
        address: binding.HostIp || '0.0.0.0',
        hostPort: Number(binding.HostPort),
        containerPort: Number(port),
        protocol: protocol.toUpperCase() as NodePort['protocol'],
      }));
    }),
  };
}

/** Hints for failures that both engines report. */
function hintFor(said: string): string | undefined {
  if (/address already in use|port is already allocated/i.test(said))
    return 'The port is in use on the host: choose another hostPort or apiServerPort.';
  if (/no space left on device|disk quota exceeded/i.test(said))
    return 'The disk of the engine is full: remove unused images and volumes.';
  if (/permission denied.*(docker\.sock|socket)/i.test(said)) return 'This user may not use the engine.';
  return undefined;
}

/** A /64 of fd00::/8 made from the network's name (RFC 4193): stable, and another one for another attempt. */
function uniqueLocalSubnet(name: string, attempt: number): string {
  const hex = createHash('sha256').update(`${name}\0${attempt}`).digest('hex');
  return `fd${hex.slice(0, 2)}:${hex.slice(2, 6)}:${hex.slice(6, 10)}:${hex.slice(10, 14)}::/64`;
}
