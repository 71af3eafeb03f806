/** Translates the configuration of a cluster into the specifications that the provider creates containers from. */

import { existsSync } from 'node:fs';
import type { Environment } from '../host/environment.ts';
import { freePorts } from '../host/ports.ts';
import type { NodeMount, NodePort, NodeSpec, NodeStatus } from '../provider/provider.ts';
import type { Cluster, ExtraMount, NodeConfig } from './config/model.ts';
import { apiServerPort, loadBalancerName, roles } from './names.ts';

export interface NodeEnvironment {
  /** Variables of the host: its proxies, and what entrypoints of nodes are told. */
  readonly host: Environment;
  readonly network: string;
  readonly subnets: readonly string[];
  /** Image of the nodes that do not name one. */
  readonly image: string;
  /** A load balancer in front of the control planes has the configured address and port. */
  readonly balanced: boolean;
  /** Host ports that are reserved although nothing listens on them, e.g. those of stopped nodes. */
  readonly taken?: ReadonlySet<number>;
  readonly rootless?: boolean;
}

export async function nodeSpecs(cluster: Cluster, environment: NodeEnvironment): Promise<NodeSpec[]> {
  const ports = await choosePorts(cluster, environment);
  const env = {
    ...proxies(cluster, environment.subnets, environment.host),
    ...entrypointVariables(cluster, environment.host),
  };
  return cluster.nodes.map((node, i) => ({
    name: node.name,
    cluster: cluster.name,
    role: node.role,
    image: node.image ?? environment.image,
    network: environment.network,
    privileged: true,
    env: node.role === roles.controlPlane ? { ...env, KUBECONFIG: '/etc/kubernetes/admin.conf' } : env,
    mounts: [...moduleMount(), ...node.mounts.map(nodeMount)],
    ports: ports[i]!,
    devices: environment.rootless ? ['/dev/fuse'] : [],
    ipv6: cluster.networking.ipFamily !== 'ipv4',
    cpus: node.cpus,
    memory: node.memory,
    mtu: cluster.networking.mtu,
    kernel: node.kernel,
    kernelArguments: node.kernelArguments,
    rosetta: node.rosetta,
  }));
}

function nodeMount({ hostPath, containerPath, readOnly, selinuxRelabel, propagation }: ExtraMount): NodeMount {
  return { source: hostPath, target: containerPath, readOnly, relabel: selinuxRelabel, propagation };
}

export async function loadBalancerSpec(
  cluster: Cluster,
  network: string,
  image: string,
  taken?: NodeEnvironment['taken'],
): Promise<NodeSpec> {
  const { apiServerAddress } = cluster.networking;
  const hostPort = await apiPort(cluster, taken);
  return {
    name: loadBalancerName(cluster.name),
    cluster: cluster.name,
    role: roles.loadBalancer,
    image,
    network,
    privileged: false,
    mtu: cluster.networking.mtu,
    ipv6: cluster.networking.ipFamily !== 'ipv4',
    ports: [{ address: apiServerAddress, hostPort, containerPort: apiServerPort, protocol: 'TCP' }],
  };
}

/** Kernel modules for modprobe. Virtual machines and minimal hosts do not have the directory. */
function moduleMount() {
  return existsSync('/lib/modules') ? [{ source: '/lib/modules', target: '/lib/modules', readOnly: true }] : [];
}

/** In a configuration 0 is a port that kina picks and keeps, and -1 one that the runtime picks at every start. */
async function apiPort(cluster: Cluster, taken: NodeEnvironment['taken']): Promise<number> {
  const { apiServerPort: port, apiServerAddress } = cluster.networking;
  if (port > 0) return port;
  return port === -1 ? 0 : (await freePorts([apiServerAddress], taken))[0]!;
}

async function choosePorts(
  cluster: Cluster,
  { balanced, taken }: Pick<NodeEnvironment, 'balanced' | 'taken'>,
): Promise<NodePort[][]> {
  const wanted = cluster.nodes.map((node) => [
    ...node.ports,
    ...(node.role === roles.controlPlane ? [apiMapping(cluster, balanced)] : []),
  ]);
  const open = wanted.flat().filter((port) => port.hostPort === 0);
  const free = await freePorts(
    open.map((port) => port.listenAddress),
    taken,
  );
  return wanted.map((ports) =>
    ports.map((port) => ({
      address: port.listenAddress,
      hostPort: port.hostPort === 0 ? free.shift()! : Math.max(port.hostPort, 0),
      containerPort: port.containerPort,
      protocol: port.protocol,
    })),
  );
}

/** Behind a load balancer each control plane has its own port, for debugging; the balancer has the configured one. */
function apiMapping({ networking }: Cluster, balanced: boolean): NodeConfig['ports'][number] {
  const loopback = networking.apiServerAddress.includes(':') ? '::1' : '127.0.0.1';
  return {
    containerPort: apiServerPort,
    hostPort: balanced ? 0 : networking.apiServerPort,
    listenAddress: balanced ? loopback : networking.apiServerAddress,
    protocol: 'TCP',
  };
}

/** URL of the API server on this machine, from the ports that are published now. */
export function apiServerOf(cluster: { readonly name: string }, statuses: readonly NodeStatus[]): string {
  const balancer = statuses.find((status) => status.role === roles.loadBalancer);
  const node = balancer ?? statuses.find((status) => status.role === roles.controlPlane);
  const port = node?.ports.find((one) => one.containerPort === apiServerPort);
  if (!node || !port) return `https://${balancer?.name ?? `${cluster.name}-control-plane`}:${apiServerPort}`;
  const everywhere: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };
  const address = everywhere[port.address] ?? port.address;
  return `https://${address.includes(':') ? `[${address}]` : address}:${port.hostPort}`;
}

/** Proxy variables of the host for the node; addresses inside the cluster are reached without a proxy. */
export function proxies(cluster: Cluster, subnets: readonly string[], host: Environment): Record<string, string> {
  const value = (name: string) => host[name] ?? host[name.toLowerCase()];
  const env: Record<string, string> = {};
  for (const name of ['HTTP_PROXY', 'HTTPS_PROXY']) {
    const proxy = value(name);
    if (proxy) env[name] = env[name.toLowerCase()] = proxy;
  }
  if (Object.keys(env).length === 0) return env;
  const { podSubnets, serviceSubnets } = cluster.networking;
  const direct = [
    ...subnets,
    ...(value('NO_PROXY')?.split(',') ?? []),
    ...serviceSubnets,
    ...podSubnets,
    ...cluster.nodes.map((node) => node.name),
    loadBalancerName(cluster.name),
    '.svc',
    '.svc.cluster',
    '.svc.cluster.local',
  ];
  env.NO_PROXY = env.no_proxy = [...new Set(direct.filter(Boolean))].join(',');
  return env;
}

/** Variables that the entrypoint of the node image reads. */
function entrypointVariables({ networking }: Cluster, host: Environment): Record<string, string> {
  const snapshotter = host.KINA_EXPERIMENTAL_CONTAINERD_SNAPSHOTTER ?? host.KIND_EXPERIMENTAL_CONTAINERD_SNAPSHOTTER;
  return {
    ...(snapshotter ? { KIND_EXPERIMENTAL_CONTAINERD_SNAPSHOTTER: snapshotter } : {}),
    ...(networking.dnsSearch ? { KIND_DNS_SEARCH: networking.dnsSearch.join(' ') } : {}),
  };
}
