/**
 * The command lines of Apple's `container` that create nodes and networks. Options are written `--name=value`, before the
 * image: everything after the image is silently passed to the guest.
 *
 * "Privileged" means all capabilities and no masked or read-only paths. Options with unsuitable defaults are always set:
 * 1 GiB of memory, 4 CPUs, an MTU of 1280, 5 seconds to stop.
 */
import { createHash } from 'node:crypto';
import { BlockList, isIPv6 } from 'node:net';
import { KinaError } from '../host/errors.ts';
import { ipv6Label } from './apple-decode.ts';
import { type NodePort, type NodeSpec, nodeLabels, type SandboxSpec } from './provider.ts';

/** Size of this machine. Nodes without a size in the configuration get a share of it. */
export interface MachineSize {
  readonly cpus: number;
  /** MiB. */
  readonly memory: number;
}

interface Size {
  readonly cpus: number;
  readonly memory: number;
}

/** Minimum sizes by role. A load balancer runs only HAProxy and always gets its minimum. */
const minimumSizes: Readonly<Record<string, Size>> = {
  'control-plane': { cpus: 2, memory: 4096 },
  worker: { cpus: 2, memory: 2048 },
  'external-load-balancer': { cpus: 1, memory: 512 },
};

const defaultMtu = 1500;
/** Minimum of IPv6, which the runtime enforces. */
const minimumMtu = 1280;

/** The configured size, else a quarter of the machine but at least the minimum of the role. */
export function nodeSize(
  { role, cpus, memory }: Pick<NodeSpec, 'role' | 'cpus' | 'memory'>,
  machine: MachineSize,
): Size {
  const floor = minimumSizes[role] ?? minimumSizes.worker!;
  const share = role === 'external-load-balancer' ? floor : { cpus: machine.cpus / 4, memory: machine.memory / 4 };
  return {
    cpus: Math.ceil(cpus ?? Math.max(floor.cpus, Math.floor(share.cpus))),
    memory: memory ?? Math.max(floor.memory, Math.floor(share.memory)),
  };
}

/** `run` for a node. All ports of `spec` are above 0. Throws `config` for settings that the runtime does not support. */
export function runArguments(spec: NodeSpec, platform: string, machine: MachineSize, network = spec.network): string[] {
  const labels = {
    [nodeLabels.cluster]: spec.cluster,
    [nodeLabels.role]: spec.role,
    ...(spec.ipv6 ? { [ipv6Label]: 'true' } : {}),
    ...spec.labels,
  };
  const { cpus, memory } = nodeSize(spec, machine);
  const { mtu = defaultMtu } = spec;
  if (mtu < minimumMtu)
    throw new KinaError('config', `an MTU of ${mtu} is too small for Apple's container`, {
      hint: `Use ${minimumMtu} or more.`,
    });
  return [
    'run',
    '--detach',
    '--progress=none',
    `--name=${spec.name}`,
    `--platform=${platform}`,
    ...Object.entries(labels).map(([key, value]) => `--label=${key}=${labelValue(key, value)}`),
    ...(spec.privileged ? allPrivileges : []),
    `--cpus=${cpus}`,
    `--memory=${memory}m`,
    `--network=${network},mtu=${mtu}`,
    ...Object.entries(spec.env ?? {}).map(([key, value]) => `--env=${key}=${value}`),
    ...volumes(spec.mounts),
    ...(spec.ports ?? []).map((port) => `--publish=${publish(port)}`),
    ...(spec.kernel === undefined ? [] : [`--kernel=${spec.kernel}`]),
    ...(spec.kernelArguments ?? []).map((argument) => `--kernel-arg=${argument}`),
    ...(spec.rosetta ? ['--rosetta'] : []),
    spec.image,
  ];
}

/** Default size of a pod sandbox. The runtime requires at least 200 MiB. */
const sandboxSize: Size = { cpus: 2, memory: 1024 };

/** `run` for a pod sandbox. The host name is the part of the name before the first dot; the agent changes it. */
export function sandboxArguments(spec: SandboxSpec, platform: string, network = spec.network): string[] {
  const labels = { [nodeLabels.service]: spec.service, ...spec.labels };
  const { cpus = sandboxSize.cpus, memory = sandboxSize.memory, mtu = defaultMtu } = spec;
  return [
    'run',
    '--detach',
    '--progress=none',
    `--name=${spec.name}`,
    `--platform=${platform}`,
    ...Object.entries(labels).map(([key, value]) => `--label=${key}=${labelValue(key, value)}`),
    ...allPrivileges,
    `--cpus=${Math.ceil(cpus)}`,
    `--memory=${memory}m`,
    `--network=${network},mtu=${mtu}`,
    ...volumes(spec.mounts),
    ...spec.sockets.map(({ host, inside }) => `--publish-socket=${host}:${inside}`),
    ...(spec.ports ?? []).map((port) => `--publish=${publish(port)}`),
    spec.image,
  ];
}

const allPrivileges = ['--cap-add=ALL', '--masked-path=NONE', '--read-only-path=NONE'] as const;

const volumes = (mounts: NodeSpec['mounts'] = []): string[] =>
  mounts.map((mount) => `--volume=${mount.source}:${mount.target}${mount.readOnly ? ':ro' : ''}`);

/** The runtime splits labels of containers at every `=`. */
function labelValue(key: string, value: string): string {
  if (!value.includes('=')) return value;
  throw new KinaError('config', `invalid value of the node label ${key}: ${JSON.stringify(value)}`, {
    hint: "With Apple's container the value of a label cannot contain =.",
  });
}

function publish({ address, hostPort, containerPort, protocol }: NodePort): string {
  if (protocol === 'SCTP')
    throw new KinaError('config', `port ${containerPort}/SCTP cannot be published`, {
      hint: "Apple's container forwards only TCP and UDP.",
    });
  const host = isIPv6(address) ? `[${address}]` : address;
  return `${host}:${hostPort}:${containerPort}/${protocol.toLowerCase()}`;
}

/** `network create`. */
export function networkArguments(name: string, subnets: { ipv4: string; ipv6: string | undefined }): string[] {
  return [
    'network',
    'create',
    `--label=${nodeLabels.cluster}=${name}`,
    `--subnet=${subnets.ipv4}`,
    ...(subnets.ipv6 === undefined ? [] : [`--subnet-v6=${subnets.ipv6}`]),
    name,
  ];
}

/**
 * The IPv4 subnets to try, best first: the /24 subnets of 192.168.0.0/16, starting with one that depends on the name of
 * the network, so that a name gets the same subnet again. Subnets that overlap one of `taken` (subnets or addresses) are
 * left out, and so are the first 66, which home routers and the runtime use.
 */
export function subnetCandidates(name: string, taken: readonly string[]): string[] {
  const first = createHash('sha256').update(name).digest().readUInt16BE(0);
  const all = Array.from({ length: 189 }, (_, i) => `192.168.${66 + ((first + i) % 189)}.0/24`);
  return all.filter((subnet) => !taken.some((one) => overlap(subnet, one)));
}

/** A /64 subnet of fd00::/8 that depends on the name (RFC 4193). */
export function uniqueLocal(name: string): string {
  const hex = createHash('sha256').update(`${name}\0v6`).digest('hex');
  return `fd${hex.slice(0, 2)}:${hex.slice(2, 6)}:${hex.slice(6, 10)}:${hex.slice(10, 14)}::/64`;
}

/** Two IPv4 subnets overlap if one contains the first address of the other. */
function overlap(one: string, other: string): boolean {
  if (other.includes(':')) return false;
  const within = (block: string, member: string): boolean => {
    const [address = '', prefix = '32'] = block.split('/');
    const list = new BlockList();
    list.addSubnet(address, Number(prefix), 'ipv4');
    return list.check(member.split('/')[0]!, 'ipv4');
  };
  return within(one, other) || within(other, one);
}
