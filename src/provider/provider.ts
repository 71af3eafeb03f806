/**
 * What a container runtime has to offer so that Kubernetes nodes can live on it: the only interface between clusters and
 * podman, docker or Apple's container. It takes and returns data and streams; it never prints, and it knows no kubeadm.
 *
 * The interface is as narrow as the least of them: addresses may change at every start, names need not resolve between
 * nodes, nothing is restarted after a reboot, and files reach a node only through `exec`. State lives in the runtime
 * alone, in labels: kina keeps no file about a cluster.
 */
import type { Readable } from 'node:stream';

export const providerNames = ['podman', 'docker', 'apple'] as const;
export type ProviderName = (typeof providerNames)[number];

/** Labels of what kina makes; the only state there is. */
export const nodeLabels = {
  cluster: 'dev.kina.cluster',
  role: 'dev.kina.role',
  /** Of a pod sandbox: the CRI service that made it. */
  service: 'dev.kina.cri',
} as const;

export interface NodeMount {
  /** Absolute path on the host. */
  readonly source: string;
  readonly target: string;
  readonly readOnly?: boolean;
  /** Give it the node's SELinux label. */
  readonly relabel?: boolean;
  readonly propagation?: 'None' | 'HostToContainer' | 'Bidirectional';
}

export interface NodePort {
  /** Address on the host, e.g. 127.0.0.1 or ::1. */
  readonly address: string;
  /** 0: the runtime picks one, and may pick another at every start. */
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: 'TCP' | 'UDP' | 'SCTP';
}

export interface NodeSpec {
  /** Container name, host name and Kubernetes node name in one. */
  readonly name: string;
  readonly cluster: string;
  readonly role: string;
  readonly image: string;
  readonly network: string;
  /** A Kubernetes node may do everything; a load balancer nothing. */
  readonly privileged: boolean;
  readonly labels?: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  readonly mounts?: readonly NodeMount[];
  readonly ports?: readonly NodePort[];
  /** Devices of the host; privileged nodes without root see none by themselves. */
  readonly devices?: readonly string[];
  readonly ipv6?: boolean;
  readonly cpus?: number | undefined;
  /** MiB. */
  readonly memory?: number | undefined;
  /** Of the network card, where the runtime decides that for each node; else `NetworkSpec` has it. */
  readonly mtu?: number | undefined;
  /** Absolute path of a kernel and words for its command line, where a node is a virtual machine. */
  readonly kernel?: string | undefined;
  readonly kernelArguments?: readonly string[] | undefined;
  /** Programs of amd64 run in an arm64 virtual machine. */
  readonly rosetta?: boolean | undefined;
}

/** A machine whose own program is its first process: all privileges, no systemd. */
export interface SandboxSpec
  extends Pick<NodeSpec, 'name' | 'image' | 'network' | 'labels' | 'mounts' | 'ports' | 'cpus' | 'memory' | 'mtu'> {
  /** Which CRI service made it; a label. */
  readonly service: string;
  readonly hostname: string;
  /** An absolute path in it that has storage of its own, not an overlay; goes with it. */
  readonly storage: string;
  /** Unix sockets that its programs make, on its root file system, and where the host finds them; folders are there. */
  readonly sockets: readonly { readonly host: string; readonly inside: string }[];
}

export interface NodeStatus {
  readonly name: string;
  readonly cluster: string;
  readonly role: string;
  readonly state: 'running' | 'stopped';
  readonly image: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Absent while it is stopped, as is `ipv6`, which is absent too where the cluster does not use it. */
  readonly ipv4?: string | undefined;
  readonly ipv6?: string | undefined;
  /** As published now; of a stopped node those that it will have again, where the runtime tells. */
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
  /** IPv6 as well; where the host has none, the network is made without and `ensureNetwork` says so. */
  readonly ipv6: boolean;
  /** How many nodes it is for (default 1). */
  readonly nodes?: number;
  /** Of every card in it, where the runtime decides that for the network; absent: the runtime's. */
  readonly mtu?: number | undefined;
}

/** An image as the runtime has it. */
export interface EngineImage {
  /** Digest of the image's config: the same for every copy of one image and platform. Some runtimes tell the manifest's. */
  readonly config: string;
  /** Digest of the image index under which the runtime keeps it, where it keeps one. */
  readonly index?: string;
  readonly architecture: string;
  readonly names: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
}

/** What the runtime's machine gives to its nodes. */
export interface EngineHost {
  /** Without root on that machine: nodes live in a user namespace. */
  readonly rootless: boolean;
  readonly cgroupVersion: 1 | 2;
  /** cgroup controllers that nodes get; undefined where the runtime does not say. */
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

  /** Nodes of one cluster, or of all, stopped ones too; ordered by name. */
  nodes(cluster?: string): Promise<NodeStatus[]>;
  /** Creates and starts. Throws `provider`; whatever half of the node exists then, `remove` removes. */
  create(spec: NodeSpec, signal?: AbortSignal): Promise<void>;
  /** As `create`, for a pod sandbox. */
  createSandbox(spec: SandboxSpec, signal?: AbortSignal): Promise<void>;
  /** The sandboxes of one CRI service, stopped ones too; `nodes` does not tell of them. */
  sandboxes(service: string): Promise<NodeStatus[]>;
  start(names: readonly string[]): Promise<void>;
  /** Shuts down, and insists after `seconds`. */
  stop(names: readonly string[], seconds: number): Promise<void>;
  /** With their volumes; absent ones are fine. */
  remove(names: readonly string[]): Promise<void>;
  /** Runs a program as root in a node. Never through a shell. */
  exec(node: string, argv: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** The node's standard output as a stream of bytes. */
  stream(node: string, argv: readonly string[], signal?: AbortSignal): { stdout: Readable; finished: Promise<void> };
  /** For people: their terminal, the program's exit code. */
  attach(node: string, argv: readonly string[]): Promise<number>;
  /** What the node's first process wrote. */
  logs(node: string): Promise<string>;
  /** The runtime's own view of a node, as it gives it: for bug reports. */
  inspect(node: string): Promise<unknown>;
  host(): Promise<EngineHost>;
  /** The runtime's own description, as it gives it. */
  info(): Promise<unknown>;

  /** Makes the network if it is not there. Answers with its subnets. */
  ensureNetwork(spec: NetworkSpec): Promise<readonly string[]>;
  /** Removes an unused network that kina created; true if it is gone. */
  removeNetwork(name: string): Promise<boolean>;

  image(reference: string): Promise<EngineImage | undefined>;
  pull(reference: string, platform: string, signal?: AbortSignal): Promise<void>;
  /** Takes a name away, and the image with its last name; an absent one is fine. */
  removeImage(reference: string): Promise<void>;
  /** Loads an archive of one image, in the form that `archive` says. */
  load(archive: Readable, signal?: AbortSignal): Promise<void>;
  /**
   * Adds an image to an OCI layout folder, layers uncompressed, and leaves out blobs that are in `blobs/sha256` already.
   * Only where the engine can do that.
   */
  saveLayout?(reference: string, folder: string, signal?: AbortSignal): Promise<void>;
  /** A docker-archive of these images. */
  save(references: readonly string[], signal?: AbortSignal): { stdout: Readable; finished: Promise<void> };
}
