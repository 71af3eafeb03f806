/** Makes a `Cluster` of the content of a file: names, defaults, absolute paths. It validates nothing. */
import { resolve } from 'node:path';
import type { Cluster, Cni, Networking, NodeConfig, Patch, Patch6902, Role } from './model.ts';
import type { ClusterFile } from './schema.ts';

/** The patches of the cluster (first) and of each node, in order. */
export interface NodePatches {
  readonly kubeadmPatches: readonly Patch[];
  readonly kubeadmPatches6902: readonly Patch6902[];
}

export interface ClusterOverrides {
  readonly overrides: {
    readonly name?: string | undefined;
    /** For all nodes, also those that name one, like the next two. */
    readonly image?: string | undefined;
    readonly kernel?: string | undefined;
    readonly rosetta?: boolean | undefined;
  };
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The name and its source: flag, KINA_CLUSTER_NAME, KIND_CLUSTER_NAME, the file, else `kina`. Empty names are skipped. */
export function clusterName(file: ClusterFile, { overrides, env }: ClusterOverrides): { name: string; from: string } {
  const sources = [
    { name: overrides.name, from: '--name' },
    { name: env.KINA_CLUSTER_NAME, from: 'KINA_CLUSTER_NAME' },
    { name: env.KIND_CLUSTER_NAME, from: 'KIND_CLUSTER_NAME' },
    { name: file.name, from: 'name' },
  ];
  const first = sources.find((source) => source.name);
  return { name: first?.name ?? 'kina', from: first?.from ?? 'name' };
}

export const nodeNames = ({ nodes }: Pick<Cluster, 'nodes'>): string[] => nodes.map((node) => node.name);

export function resolveCluster(file: ClusterFile, patches: readonly NodePatches[], options: ClusterOverrides): Cluster {
  const { name } = clusterName(file, options);
  const networking = resolveNetworking(file.networking ?? {}, options.cwd);
  const count: Record<Role, number> = { 'control-plane': 0, worker: 0 };
  const nodes = (file.nodes ?? [{}]).map((node, i): NodeConfig => {
    const role = node.role ?? 'control-plane';
    count[role]++;
    const image = options.overrides.image ?? node.image;
    const { cpus, memory, disk } = node;
    const kernel = options.overrides.kernel ?? node.kernel;
    const rosetta = options.overrides.rosetta ?? node.rosetta;
    return {
      name: `${name}-${role}${count[role] === 1 ? '' : count[role]}`,
      role,
      ...(image === undefined ? {} : { image }),
      labels: node.labels ?? {},
      mounts: (node.extraMounts ?? []).map((mount) => ({
        hostPath: resolve(options.cwd, mount.hostPath),
        containerPath: mount.containerPath,
        readOnly: mount.readOnly ?? false,
        selinuxRelabel: mount.selinuxRelabel ?? false,
        propagation: mount.propagation ?? 'None',
      })),
      ports: (node.extraPortMappings ?? []).map((port) => ({
        containerPort: port.containerPort,
        hostPort: port.hostPort ?? 0,
        listenAddress: port.listenAddress ?? (networking.ipFamily === 'ipv6' ? '::' : '0.0.0.0'),
        protocol: port.protocol ?? 'TCP',
      })),
      kubeadmPatches: patches[i + 1]?.kubeadmPatches ?? [],
      kubeadmPatches6902: patches[i + 1]?.kubeadmPatches6902 ?? [],
      ...(cpus === undefined ? {} : { cpus }),
      ...(memory === undefined ? {} : { memory }),
      ...(disk === undefined ? {} : { disk }),
      ...(kernel === undefined ? {} : { kernel: resolve(options.cwd, kernel) }),
      kernelArguments: node.kernelArguments ?? [],
      ...(rosetta ? { rosetta } : {}),
    };
  });
  return {
    name,
    nodes,
    networking,
    featureGates: file.featureGates ?? {},
    runtimeConfig: file.runtimeConfig ?? {},
    kubeadmPatches: patches[0]?.kubeadmPatches ?? [],
    kubeadmPatches6902: patches[0]?.kubeadmPatches6902 ?? [],
    containerdPatches: file.containerdConfigPatches ?? [],
    containerdPatches6902: file.containerdConfigPatchesJSON6902 ?? [],
    ...(file.provider === undefined ? {} : { provider: file.provider }),
    warnings: [],
  };
}

const subnetDefaults = {
  ipv4: { pod: ['10.244.0.0/16'], service: ['10.96.0.0/16'] },
  ipv6: { pod: ['fd00:10:244::/56'], service: ['fd00:10:96::/112'] },
  dual: { pod: ['10.244.0.0/16', 'fd00:10:244::/56'], service: ['10.96.0.0/16', 'fd00:10:96::/112'] },
} as const;

function resolveNetworking(file: NonNullable<ClusterFile['networking']>, cwd: string): Networking {
  const ipFamily = file.ipFamily ?? 'ipv4';
  const defaults = subnetDefaults[ipFamily];
  return {
    ipFamily,
    apiServerAddress: file.apiServerAddress ?? (ipFamily === 'ipv6' ? '::1' : '127.0.0.1'),
    apiServerPort: file.apiServerPort ?? 0,
    podSubnets: file.podSubnet ?? defaults.pod,
    serviceSubnets: file.serviceSubnet ?? defaults.service,
    cni: resolveCni(file.cni ?? (file.disableDefaultCNI ? 'none' : 'default'), cwd),
    kubeProxyMode: file.kubeProxyMode ?? 'iptables',
    ...(file.dnsSearch === undefined ? {} : { dnsSearch: file.dnsSearch }),
    ...(file.mtu === undefined ? {} : { mtu: file.mtu }),
  };
}

function resolveCni(cni: string, cwd: string): Cni {
  return cni === 'default' || cni === 'kindnet' || cni === 'none' ? cni : { file: resolve(cwd, cni) };
}
