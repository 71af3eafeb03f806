/**
 * The interface between clusters and a container runtime: podman, docker or Apple's container. It takes and returns data
 * and streams, never prints, and does not know kubeadm.
 *
 * Callers can only rely on what all runtimes offer: addresses may change at every start, names may not resolve between
 * nodes, nodes may not restart after a reboot, and files are copied through `exec`. All state is in labels of the runtime:
 * kina writes no files about a cluster.
 */
import type { Readable } from 'node:stream';

export const providerNames = ['podman', 'docker', 'apple'] as const;
export type ProviderName = (typeof providerNames)[number];

/** Labels of everything that kina creates. They are its only state. */
export const nodeLabels = {
  cluster: 'dev.kina.cluster',
  role: 'dev.kina.role',
  /** Of a pod sandbox: the CRI service that created it. */
  service: 'dev.kina.cri',
} as const;

export interface NodeMount {
  /** Absolute path on the host. */
  readonly source: string;
  readonly target: string;
  readonly readOnly?: boolean;
  /** Set the SELinux label of the node. */
  readonly relabel?: boolean;
  readonly propagation?: 'None' | 'HostToContainer' | 'Bidirectional';
}

export interface NodePort {
  /** Address on the host, e.g. 127.0.0.1 or ::1. */
  readonly address: string;
  /** 0: the runtime picks a port at every start. */
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
}

export interface NodeSpec {
  /** Name of the container, host name and Kubernetes node name. */
  readonly name: string;
  readonly cluster: string;
  readonly role: string;
  readonly image: string;
  readonly network: string;
  /** True for Kubernetes nodes, false for load balancers. */
  readonly privileged: boolean;
  readonly labels?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly mounts?: readonly NodeMount[];
  readonly ports?: readonly NodePort[];
  /** Devices of the host, for rootless nodes, which otherwise see none. */
  readonly devices?: readonly string[];
  readonly ipv6?: boolean;
  readonly cpus?: number | undefined;
  /** MiB. */
  readonly memory?: number | undefined;
  /** For runtimes that set the MTU for each node; the others use `NetworkSpec.mtu`. */
  readonly mtu?: number | undefined;
  /** Absolute path of the kernel, for nodes in virtual machines; `kernelArguments` extend its command line. */
  readonly kernel?: string | undefined;
  readonly kernelArguments?: readonly string[] | undefined;
  /** Run amd64 programs in an arm64 virtual machine. */
  readonly rosetta?: boolean | undefined;
}

/** A privileged container or virtual machine that runs the program of its image, without systemd. */
export interface SandboxSpec
  extends Pick<NodeSpec, 'name' | 'image' | 'network' | 'labels' | 'mounts' | 'ports' | 'cpus' | 'memory' | 'mtu'> {
  /** ID of the CRI service that creates it; stored as a label. */
  readonly service: string;
  readonly hostname: string;
  /** Absolute path inside that is a volume, not an overlay. It is removed with the sandbox. */
  readonly storage: string;
  /** Unix sockets that its programs create, and their paths on the host. The folders exist. */
  readonly sockets: readonly { readonly host: string; readonly inside: string }[];
}

export interface NodeStatus {
  readonly name: string;
  readonly cluster: string;
  readonly role: string;
  readonly state: 'running' | 'stopped';
  readonly image: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Undefined while the node is stopped, like `ipv6`, which is also undefined in clusters without IPv6. */
  readonly ipv4?: string | undefined;
  readonly ipv6?: string | undefined;
  /** The published ports; for a stopped node those of its next start, if the runtime reports them. */
  readonly ports: readonly NodePort[];
}

export interface ExecOptions {
  readonly input?: string | Uint8Array | Readable;
  readonly env?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds. */
  readonly timeout?: number;
  readonly onOutput?: (text: string) => void;
}

export interface ExecResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
}

export interface NetworkSpec {
  readonly name: string;
  /** Enable IPv6. On hosts without IPv6 the network is created without it, see the result of `ensureNetwork`. */
  readonly ipv6: boolean;
  /** Number of nodes; default 1. */
  readonly nodes?: number;
  /** For runtimes that set the MTU for the network. Default: that of the runtime. */
  readonly mtu?: number | undefined;
}

/** An image in the runtime. */
export interface EngineImage {
  /** Digest of the config, which identifies an image and platform in every format. Some runtimes report the manifest. */
  readonly config: string;
  /** Digest of the image index, if the runtime stores it. */
  readonly index?: string;
  readonly architecture: string;
  readonly names: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/** Properties of the machine that the runtime runs on. */
export interface EngineHost {
  /** The runtime is rootless: nodes run in a user namespace. */
  readonly rootless: boolean;
  readonly cgroupVersion: 1 | 2;
  /** cgroup controllers of nodes; undefined if the runtime does not report them. */
  readonly controllers: readonly string[] | undefined;
}

/** Differences between providers that callers must know. Nothing outside src/provider depends on the name of a provider. */
export interface Capabilities {
  /** Each node boots its own kernel, which the configuration can choose. */
  readonly nodeKernel: boolean;
  /** Nodes can run amd64 programs with Rosetta. */
  readonly rosetta: boolean;
  /** A sandbox gets a fixed number of CPUs and amount of memory when it is created. */
  readonly fixedSandboxSize: boolean;
  /** Later mounts on the host, below a mounted directory, appear in nodes that ask for it. */
  readonly mountPropagation: boolean;
  /** CPUs and memory (MiB) that a node sees but cannot use. */
  readonly nodeOverhead?: { readonly cpus: number; readonly memory: number };
}

export interface Provider {
  readonly name: ProviderName;
  readonly capabilities: Capabilities;
  /** The format of images that `load` takes. An `oci-archive` has an index, one platform and names in its annotations. */
  readonly archive: 'docker-archive' | 'oci-archive';
  /** What may help when the nodes are healthy but their published ports are not reachable. */
  readonly connectivityHint?: string;
  /** The version of the runtime. Throws `provider` with a hint when the runtime does not work. */
  version(): Promise<string>;

  /** Running and stopped nodes of one cluster or of all, ordered by name. */
  nodes(cluster?: string): Promise<NodeStatus[]>;
  /** Creates and starts a node. Throws `provider`; `remove` then removes an incomplete node. */
  create(spec: NodeSpec, signal?: AbortSignal): Promise<void>;
  /** Like `create`, for a pod sandbox. */
  createSandbox(spec: SandboxSpec, signal?: AbortSignal): Promise<void>;
  /** Running and stopped sandboxes of one CRI service. `nodes` does not return them. */
  sandboxes(service: string): Promise<NodeStatus[]>;
  start(names: readonly string[]): Promise<void>;
  /** Shuts nodes down, and kills them after `seconds`. */
  stop(names: readonly string[], seconds: number): Promise<void>;
  /** Removes nodes and their volumes. Removing missing nodes succeeds. */
  remove(names: readonly string[]): Promise<void>;
  /** Runs a program as root in a node, without a shell. */
  exec(node: string, argv: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** Runs a program in a node and streams its standard output. */
  stream(node: string, argv: readonly string[], signal?: AbortSignal): { stdout: Readable; finished: Promise<void> };
  /** Runs a program with the terminal of this process. Returns the exit code. */
  attach(node: string, argv: readonly string[]): Promise<number>;
  /** Output of the first process of the node. */
  logs(node: string): Promise<string>;
  /** The unchanged `inspect` output of the runtime, for bug reports. */
  inspect(node: string): Promise<unknown>;
  host(): Promise<EngineHost>;
  /** The unchanged `info` output of the runtime, for bug reports. */
  info(): Promise<unknown>;

  /** Creates the network unless it exists. Returns its subnets. */
  ensureNetwork(spec: NetworkSpec): Promise<readonly string[]>;
  /** Removes a network that kina created. Returns false if containers still use it. */
  removeNetwork(name: string): Promise<boolean>;

  image(reference: string): Promise<EngineImage | undefined>;
  pull(reference: string, platform: string, signal?: AbortSignal): Promise<void>;
  /** Removes a name, and the image with its last name. Removing a missing name succeeds. */
  removeImage(reference: string): Promise<void>;
  /** Loads an archive with one image, in the format `archive`. */
  load(archive: Readable, signal?: AbortSignal): Promise<void>;
  /**
   * Adds an image with uncompressed layers to an OCI layout folder. Blobs that exist in `blobs/sha256` are skipped. Absent
   * if the engine cannot do that.
   */
  saveLayout?(reference: string, folder: string, signal?: AbortSignal): Promise<void>;
  /** A docker-archive of these images. */
  save(references: readonly string[], signal?: AbortSignal): { stdout: Readable; finished: Promise<void> };
}
