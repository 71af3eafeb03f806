/**
 * The command lines that make a node and its network with Apple's `container`. Options are written `--name=value`, before
 * the image: whatever follows it would silently become an argument of the guest.
 *
 * "Privileged" is all capabilities and no masked or read-only paths; there is nothing else to lift. What the runtime's
 * defaults would get wrong is always said: 1 GiB of memory, 4 CPUs, an MTU of 1280, 5 seconds to stop.
 */
import { createHash } from 'node:crypto';
import { BlockList, isIPv6 } from 'node:net';
import { KinaError } from '../host/errors.ts';
import { ipv6Label } from './apple-decode.ts';
import { type NodePort, type NodeSpec, nodeLabels, type SandboxSpec } from './provider.ts';

/** What a node gets that names no size. */
export interface Machine {
  readonly cpus: number;
  /** MiB. */
  readonly memory: number;
}

interface Size {
  readonly cpus: number;
  readonly memory: number;
}

/** Least sizes by role; a load balancer is HAProxy alone and needs no more than its least. */
const least: Readonly<Record<string, Size>> = {
  'control-plane': { cpus: 2, memory: 4096 },
  worker: { cpus: 2, memory: 2048 },
  'external-load-balancer': { cpus: 1, memory: 512 },
};

const defaultMtu = 1500;
/** IPv6's least, which the runtime insists on. */
const leastMtu = 1280;

/** A quarter of the machine, at least what the role needs; what the configuration says goes first. */
export function nodeSize({ role, cpus, memory }: Pick<NodeSpec, 'role' | 'cpus' | 'memory'>, machine: Machine): Size {
  const floor = least[role] ?? least.worker!;
  const share = role === 'external-load-balancer' ? floor : { cpus: machine.cpus / 4, memory: machine.memory / 4 };
  return {
    cpus: Math.ceil(cpus ?? Math.max(floor.cpus, Math.floor(share.cpus))),
    memory: memory ?? Math.max(floor.memory, Math.floor(share.memory)),
  };
}

/**
 * `run` for a node whose ports are all chosen; `network` may be another than the specification's. Throws `config` for
 * what Apple's runtime cannot do.
 */
export function runArguments(spec: NodeSpec, platform: string, machine: Machine, network = spec.network): string[] {
  const labels = {
    [nodeLabels.cluster]: spec.cluster,
    [nodeLabels.role]: spec.role,
    ...(spec.ipv6 ? { [ipv6Label]: 'true' } : {}),
    ...spec.labels,
  };
  const { cpus, memory } = nodeSize(spec, machine);
  const { mtu = defaultMtu } = spec;
  if (mtu < leastMtu)
    throw new KinaError('config', `an MTU of ${mtu} is too small for Apple's container`, {
      hint: `It takes ${leastMtu} and more.`,
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

/** Sizes of a pod sandbox that names none; the least that the runtime takes is 200 MiB. */
const sandboxSize: Size = { cpus: 2, memory: 1024 };

/** `run` for a pod sandbox. The host name is the name's, up to the first dot: the agent sets the pod's. */
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

/** The runtime splits a container's label at every `=`. */
function labelValue(key: string, value: string): string {
  if (!value.includes('=')) return value;
  throw new KinaError('config', `the label ${key} of a node cannot have the value ${JSON.stringify(value)}`, {
    hint: "Apple's container allows no = in a label's value.",
  });
}

function publish({ address, hostPort, containerPort, protocol }: NodePort): string {
  if (protocol === 'SCTP')
    throw new KinaError('config', `port ${containerPort}/SCTP cannot be published`, {
      hint: "Apple's container forwards TCP and UDP only.",
    });
  const host = isIPv6(address) ? `[${address}]` : address;
  return `${host}:${hostPort}:${containerPort}/${protocol.toLowerCase()}`;
}

/** `network create` for a subnet that is free. */
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
 * The IPv4 subnets to try, best first: a /24 of 192.168.0.0/16 that the network's name picks, so that it comes out the
 * same again, without those in which one of `taken` (subnets or addresses) lies. The first 65 are left to routers at home
 * and to the runtime's own networks.
 */
export function subnetCandidates(name: string, taken: readonly string[]): string[] {
  const first = createHash('sha256').update(name).digest().readUInt16BE(0);
  const all = Array.from({ length: 189 }, (_, i) => `192.168.${66 + ((first + i) % 189)}.0/24`);
  return all.filter((subnet) => !taken.some((one) => overlap(subnet, one)));
}

/** A /64 of fd00::/8 from the name (RFC 4193). */
export function uniqueLocal(name: string): string {
  const hex = createHash('sha256').update(`${name}\0v6`).digest('hex');
  return `fd${hex.slice(0, 2)}:${hex.slice(2, 6)}:${hex.slice(6, 10)}:${hex.slice(10, 14)}::/64`;
}

/** Of two IPv4 blocks one holds the other's first address, or they do not meet. */
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
