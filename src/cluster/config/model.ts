/**
 * The validated configuration of a cluster: with defaults, absolute paths, names of nodes and parsed patches. It does not
 * depend on the format of the file.
 */
import type { Operation } from 'rfc6902';
import type { JsonObject } from './merge.ts';

export type Role = 'control-plane' | 'worker';
export type IpFamily = 'ipv4' | 'ipv6' | 'dual';
export type KubeProxyMode = 'iptables' | 'ipvs' | 'nftables' | 'none';
type Protocol = 'TCP' | 'UDP' | 'SCTP';
export type Propagation = 'None' | 'HostToContainer' | 'Bidirectional';
/** The pod network; a file is a manifest with an absolute path. */
export type Cni = 'default' | 'kindnet' | 'none' | { readonly file: string };

export interface ExtraMount {
  /** Absolute. */
  readonly hostPath: string;
  readonly containerPath: string;
  readonly readOnly: boolean;
  readonly selinuxRelabel: boolean;
  readonly propagation: Propagation;
}

export interface ExtraPortMapping {
  readonly containerPort: number;
  /** 0: kina picks a free port and keeps it; -1: the runtime picks one at every start. */
  readonly hostPort: number;
  readonly listenAddress: string;
  readonly protocol: Protocol;
}

/** One document of a `kubeadmConfigPatches` string. */
export interface Patch {
  readonly kind: string;
  /** If the patch has one: then it applies only to this version. */
  readonly apiVersion?: string;
  /** Without `kind` and `apiVersion`. */
  readonly value: JsonObject;
  /** `FILE:LINE:COLUMN`. */
  readonly where: string;
}

export interface Patch6902 {
  readonly kind: string;
  /** `GROUP/VERSION`; absent: any. */
  readonly apiVersion?: string;
  readonly operations: readonly Operation[];
  readonly where: string;
}

export interface NodeConfig {
  /** `CLUSTER-control-plane`, `CLUSTER-control-plane2`, …, `CLUSTER-worker`, …; also the host name. */
  readonly name: string;
  readonly role: Role;
  /** Default: the image of the cluster. */
  readonly image?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly mounts: readonly ExtraMount[];
  readonly ports: readonly ExtraPortMapping[];
  readonly kubeadmPatches: readonly Patch[];
  readonly kubeadmPatches6902: readonly Patch6902[];
  readonly cpus?: number;
  /** MiB. */
  readonly memory?: number;
  /** MiB. */
  readonly disk?: number;
  /** Absolute path, for nodes in virtual machines. */
  readonly kernel?: string;
  readonly kernelArguments: readonly string[];
  /** Run amd64 programs in this arm64 virtual machine. */
  readonly rosetta?: true;
}

export interface Networking {
  readonly ipFamily: IpFamily;
  readonly apiServerAddress: string;
  /** 0: kina picks a free port and keeps it; -1: the runtime picks one at every start. */
  readonly apiServerPort: number;
  readonly podSubnets: readonly string[];
  readonly serviceSubnets: readonly string[];
  readonly cni: Cni;
  readonly kubeProxyMode: KubeProxyMode;
  /** Absent: the search list of the host; empty: no search list. */
  readonly dnsSearch?: readonly string[];
  readonly mtu?: number;
}

export interface Cluster {
  readonly name: string;
  /** In the order of the file. */
  readonly nodes: readonly NodeConfig[];
  readonly networking: Networking;
  readonly featureGates: Readonly<Record<string, boolean>>;
  readonly runtimeConfig: Readonly<Record<string, string>>;
  readonly kubeadmPatches: readonly Patch[];
  readonly kubeadmPatches6902: readonly Patch6902[];
  /** TOML merge patches; they parse. */
  readonly containerdPatches: readonly string[];
  /** JSON patches in YAML or JSON; they parse. */
  readonly containerdPatches6902: readonly string[];
  readonly provider?: string;
  /** Settings that are valid but probably a mistake, one sentence each. */
  readonly warnings: readonly string[];
}
