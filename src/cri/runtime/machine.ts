/** The machine that a sandbox is, from what kubelet says of the pod; and what no such machine can be. */
import { readFile } from 'node:fs/promises';
import type { NodePort, SandboxSpec } from '../../provider/provider.ts';
import { inSandbox } from '../agent/protocol.ts';
import type { PodSandboxConfig } from '../api/messages.ts';
import { invalid, RpcError, unsupported } from '../api/status.ts';
import { isBelow, sharedPath } from '../spec/shares.ts';
import { userNamespace } from '../spec/user-namespace.ts';
import type { CriOptions } from './options.ts';
import type { PodRecord } from './records.ts';

/** Runtime classes that mean this runtime; it is the only one that it has. */
export const runtimeHandlers = ['', 'kina'] as const;

export const machineName = (id: string): string => `kina-pod-${id}`;

/** Where things of a sandbox are on the host. */
interface Places {
  /** Whose sandbox it is, as a label's value. */
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
    // what kubelet names a pod may be longer than a host name; the agent sets it
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

/** A machine of its own needs a size: what the pod may have at most, and something for itself. */
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

/** Pod, namespace, uid and attempt are one sandbox at a time. */
export function podKey({ metadata }: PodSandboxConfig): string {
  return `${metadata?.namespace}/${metadata?.name}_${metadata?.uid}_${metadata?.attempt}`;
}

/** For people who look at the provider's list; values without what some providers cannot have. */
function podLabels({ metadata }: PodSandboxConfig): Record<string, string> {
  const clean = (text = '') => text.replaceAll(/[^\w.-]/g, '_');
  return { 'dev.kina.cri.namespace': clean(metadata?.namespace), 'dev.kina.cri.pod': clean(metadata?.name) };
}

/** Of the kernel: sethostname(2). */
const longestHostname = 64;

/** What a machine of its own cannot do, before anything is made. */
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
  userNamespace(options, true); // containers are made later; a wish that makes no sense should not wait for them
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

/** With what is mounted below it later, where the host lets mounts spread. */
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
