/** Converts a pod's configuration to the specification of its machine, and refuses what a machine cannot provide. */
import { readFile } from 'node:fs/promises';
import type { NodePort, SandboxSpec } from '../../provider/provider.ts';
import { inSandbox } from '../agent/protocol.ts';
import type { PodSandboxConfig } from '../api/messages.ts';
import { invalid, RpcError, unsupported } from '../api/status.ts';
import { isBelow, sharedPath } from '../spec/shares.ts';
import { userNamespace } from '../spec/user-namespace.ts';
import type { CriOptions } from './options.ts';
import type { PodRecord } from './records.ts';

/** Runtime handlers that select this runtime; there are no others. */
export const runtimeHandlers = ['', 'kina'] as const;

export const machineName = (id: string): string => `kina-pod-${id}`;

/** Paths of a sandbox on the host. */
interface Places {
  /** Label value that identifies the service that owns the sandbox. */
  readonly service: string;
  readonly shared: string;
  readonly socket: string;
  readonly disks: string;
}

export async function machineSpec(record: PodRecord, options: CriOptions, at: Places): Promise<SandboxSpec> {
  const { config, id, machine, shares } = record;
  return {
    name: machine,
    service: at.service,
    image: options.sandboxImage,
    network: options.network,
    // a pod's name can be longer than a host name allows; the agent sets it
    hostname: machine.slice(0, 63),
    labels: { 'dev.kina.cri.sandbox': id, ...podLabels(config) },
    mounts: [
      { source: at.shared, target: inSandbox.shared },
      { source: at.disks, target: inSandbox.images, readOnly: true },
      ...(await Promise.all(shares.map(shareMount))),
    ],
    ports: publishedPorts(config),
    storage: inSandbox.containers,
    sockets: [{ host: at.socket, inside: inSandbox.socket }],
    ...machineSize(config, options),
  };
}

/** A virtual machine needs a fixed size: the pod's limits, plus an overhead for the machine. */
function machineSize({ linux }: PodSandboxConfig, options: CriOptions): { cpus?: number; memory?: number } {
  const { cpus, memory, provider } = options;
  const own = { ...(cpus ? { cpus } : {}), ...(memory ? { memory } : {}) };
  if (!provider.capabilities.fixedSandboxSize || !linux?.resources) return own;
  const { cpuQuota, cpuPeriod, memoryLimitInBytes } = linux.resources;
  if (cpuQuota > 0 && cpuPeriod > 0) own.cpus = Math.max(1, Math.ceil(cpuQuota / cpuPeriod));
  if (memoryLimitInBytes > 0) own.memory = Math.ceil(memoryLimitInBytes / 2 ** 20) + sandboxOverhead;
  return own;
}

/** MiB for the agent and the kernel of a virtual machine. */
const sandboxOverhead = 256;

/** Pod, namespace, uid and attempt identify one sandbox at a time. */
export function podKey({ metadata }: PodSandboxConfig): string {
  return `${metadata?.namespace}/${metadata?.name}_${metadata?.uid}_${metadata?.attempt}`;
}

/** For people who read the provider's list. Values omit characters that some providers refuse. */
function podLabels({ metadata }: PodSandboxConfig): Record<string, string> {
  const clean = (text = '') => text.replaceAll(/[^\w.-]/g, '_');
  return { 'dev.kina.cri.namespace': clean(metadata?.namespace), 'dev.kina.cri.pod': clean(metadata?.name) };
}

/** Of the kernel: sethostname(2). */
const longestHostname = 64;

/** Refuses what a separate machine cannot do, before anything is created. */
export function refusePod(config: PodSandboxConfig, runtimeHandler: string): void {
  if (!(runtimeHandlers as readonly string[]).includes(runtimeHandler))
    throw new RpcError(
      'NOT_FOUND',
      `runtime handler not found: ${JSON.stringify(runtimeHandler)}; kina has "" and "kina"`,
    );
  if (Buffer.byteLength(config.hostname) > longestHostname)
    throw invalid(`the host name ${config.hostname} is longer than ${longestHostname} bytes`);
  if (config.windows) throw unsupported('a Windows sandbox', 'sandboxes are Linux machines');
  const options = config.linux?.securityContext?.namespaceOptions;
  if (options?.network === 'NODE')
    throw unsupported('host network', 'a sandbox is a machine with a network card of its own');
  if (options?.network === 'CONTAINER' || options?.network === 'TARGET')
    throw invalid(`${options.network} is not a network namespace of a sandbox`);
  userNamespace(options, true); // fail early on an invalid setting: containers are created later
}

function publishedPorts({ portMappings }: PodSandboxConfig): NodePort[] {
  return portMappings
    .filter(({ hostPort }) => hostPort > 0)
    .map(({ hostIp, hostPort, containerPort, protocol }) => ({
      address: hostIp || '0.0.0.0',
      hostPort,
      containerPort,
      protocol,
    }));
}

/** Includes later mounts below the folder, if the host's mounts propagate. */
async function shareMount(source: string) {
  const spreads = await hasSharedMount(source);
  return { source, target: sharedPath(source), ...(spreads ? { propagation: 'HostToContainer' as const } : {}) };
}

/** True when the mount that has `path` is shared or a slave: proc_pid_mountinfo(5). Engines refuse `rslave` otherwise. */
async function hasSharedMount(path: string): Promise<boolean> {
  const text = await readFile('/proc/self/mountinfo', 'utf8').catch(() => '');
  const mounts = text
    .split('\n')
    .map((line) => line.split(' '))
    .filter((fields) => fields.length > 6 && isBelow(path, fields[4]!));
  const deepest = mounts.sort((a, b) => b[4]!.length - a[4]!.length)[0];
  return deepest?.slice(6).some((field) => /^(shared|master):/.test(field)) ?? false;
}
