/**
 * How the service talks to the agent, the first process of every sandbox. The agent listens on a Unix socket that the
 * provider makes reachable on the host; one connection is one call, so that calls never wait for each other and a lost
 * service leaves nothing half-said.
 *
 * Both directions carry frames: length of the payload (32 bits, big endian), channel (8 bits), payload. The service's
 * first frame is the request, on channel `control`; further control frames of a running call are `ExecControl`. The
 * agent's last frame is on `control` too: the reply, or `AgentFailure`; then it closes. On the data channels an empty
 * frame is the end of that stream. There is no flow control but the socket's own.
 *
 * The agent knows OCI runtime bundles, cgroups and CRI log lines, but no CRI messages: the service makes
 * every decision that it can. It keeps a record of each container's end in the folder that it shares with the host, so
 * that exit codes outlive the sandbox.
 */

export const channel = { control: 0, stdin: 1, stdout: 2, stderr: 3 } as const;

/** A longer frame means that the peer is broken. */
export const maximumFrame = 16 << 20;
/** Data is sent in pieces of this size at most, so that streams share a connection. */
export const dataFrame = 32 << 10;

/** Paths inside the sandbox. */
export const inSandbox = {
  /** The folder of this sandbox on the host, writable: holds data that must outlive the sandbox. */
  shared: '/var/lib/kina/shared',
  /** The socket, on the root file system or in a shared folder, never on a tmpfs. */
  socket: '/var/lib/kina/socket/agent.sock',
  /** Image disks, read-only. */
  images: '/var/lib/kina/images',
  /** Writable layers of containers; never on an overlay. */
  containers: '/var/lib/kina/containers',
  /** Shared folders of the host appear below this, with their own absolute path. */
  host: '/host',
} as const;

export interface Requests {
  /** Describes the sandbox; called once after each connection to a new or re-adopted sandbox. */
  hello: [Record<never, never>, AgentHello];
  /** Once, before any container. Doing it again with the same values changes nothing. */
  configure: [SandboxSetup, Record<never, never>];
  /** Prepares root file system, namespaces, cgroup, pipes: everything but running the program. */
  create: [CreateContainer, { pid: number }];
  start: [{ id: string }, { startedAt: string }];
  /** `signal` as in OCI images (`SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`); waits `timeout` ms, then kills all. Ended and unknown containers are ignored. */
  stop: [{ id: string; signal: string; timeout: number }, Record<never, never>];
  /** Kills a running container, unmounts and forgets it. Unknown containers are ignored. */
  delete: [{ id: string }, Record<never, never>];
  list: [Record<never, never>, { containers: AgentContainer[] }];
  /** Never replies: sends an `AgentEvent` on `control` for every change from now on, beginning with `list`'s answer. */
  events: [Record<never, never>, never];
  /** `started` on `control`, then data, then the reply when the process has ended and its output is at its end. */
  exec: [ExecProcess, ExecEnd];
  /** As `exec`, to the first process of a container; ends with it. */
  attach: [AttachContainer, Record<never, never>];
  /** `started` when connected, then bytes on `stdin` to the port and on `stdout` from it; an empty frame half-closes. */
  forward: [{ port: number }, Record<never, never>];
  update: [{ id: string; resources: object }, Record<never, never>];
  reopen: [{ id: string }, Record<never, never>];
  stats: [Record<never, never>, AgentStats];
  metrics: [Record<never, never>, AgentMetrics];
}
export type Operation = keyof Requests;

/** The request frame: the operation's name beside its fields. */
export type RequestFrame<O extends Operation> = { op: O } & Requests[O][0];

/** Failures that a caller can distinguish; all others are `failed`. */
export type AgentFailureCode = 'not-found' | 'exists' | 'invalid' | 'wrong-state' | 'timeout' | 'refused' | 'failed';
export interface AgentFailure {
  error: { code: AgentFailureCode; message: string };
}

/** The first control frame of `exec`, `attach` and `forward`, unless they fail before. */
export interface Started {
  started: true;
}

export interface AgentHello {
  /** Version of this protocol; a different number means a different sandbox image. */
  protocol: 1;
  /** `crun --version`'s number. */
  runtime: string;
  kernel: string;
  cgroupVersion: 1 | 2;
  controllers: string[];
  /** The capabilities that the sandbox can grant, as `CAP_…`. */
  capabilities: string[];
  /** Processors and bytes of memory that the sandbox sees. */
  cpus: number;
  memory: number;
  /** Addresses of eth0 and all other active interfaces, without loopback and link-local. */
  addresses: string[];
  /** Mounts can be read-only with everything below them (Linux 5.12). */
  recursiveReadOnly: boolean;
  /** Containers can have a user namespace with mapped mounts. */
  userNamespaces: boolean;
}

export interface SandboxSetup {
  hostname: string;
  /** Keys with dots, e.g. `net.ipv4.ip_local_port_range`. */
  sysctls: Record<string, string>;
  /** Extra routes: service addresses that only a node translates. */
  routes: { destination: string; gateway: string }[];
  /** Containers with `pid: pod` share a namespace whose first process is a pause process, not the agent. */
  sharePids: boolean;
}

export interface CreateContainer {
  id: string;
  /**
   * OCI runtime configuration (config.json), complete but for `root.path`, `linux.cgroupsPath` and namespaces: those of
   * type mount, cgroup and user are taken as they are, all others are the agent's business (see `pid`).
   */
  config: object;
  /** Path of the image's disk, below `inSandbox.images`. */
  disk: string;
  /** container: its own; pod: the shared one; node: the sandbox's own; else the id of a container of this sandbox. */
  pid: 'container' | 'pod' | 'node' | { target: string };
  /** Other images that are mounted: disks at paths that `config.mounts` refers to as `image:INDEX[/sub/path]`. */
  imageMounts?: string[];
  /** CRI log file, absolute in the sandbox; empty: none. */
  log: string;
  terminal: boolean;
  stdin: boolean;
  /** The first attached client that ends its input ends the container's. */
  stdinOnce: boolean;
}

export interface AgentContainer {
  id: string;
  state: 'created' | 'running' | 'exited';
  pid: number;
  /** Nanoseconds since 1970, as text: more than a number can hold. `0` when it has not happened. */
  createdAt: string;
  startedAt: string;
  finishedAt: string;
  /** 128 + signal for a killed one. */
  exitCode: number;
  oomKilled: boolean;
}

/**
 * True for a valid report of an agent on a container. The agent runs beside a pod's programs, which may forge its reports:
 * values that are not checked here must not affect other pods.
 */
export function isAgentContainer(value: unknown): value is AgentContainer {
  if (typeof value !== 'object' || value === null) return false;
  const { id, state, pid, createdAt, startedAt, finishedAt, exitCode, oomKilled } = value as AgentContainer;
  return (
    typeof id === 'string' &&
    ['created', 'running', 'exited'].includes(state) &&
    [createdAt, startedAt, finishedAt].every((at) => typeof at === 'string' && /^\d{1,19}$/.test(at)) &&
    [pid, exitCode].every((number) => Number.isInteger(number) && Math.abs(number) < 2 ** 31) &&
    typeof oomKilled === 'boolean'
  );
}

export interface AgentEvent {
  containers?: AgentContainer[];
  container?: AgentContainer;
  deleted?: string;
}

export interface ExecProcess {
  id: string;
  /** OCI `process`; complete. */
  process: object;
  stdin: boolean;
  /** Milliseconds until it and all that it started are killed and the call fails with `timeout`; 0: never. */
  timeout: number;
}
export interface ExecEnd {
  exitCode: number;
}
/** While an exec or attach runs. */
export interface ExecControl {
  resize: { width: number; height: number };
}

export interface AttachContainer {
  id: string;
  stdin: boolean;
}

/** By cAdvisor's name without `container_`: value and values of the metric's own labels. */
export type MetricSamples = Record<string, [value: number, ...labels: string[]][]>;
export interface AgentMetrics {
  containers: Record<string, MetricSamples>;
  network: MetricSamples;
}

/** Cumulative counters and present values; bytes and nanoseconds. */
export interface CgroupStats {
  /** Nanoseconds since 1970, as text. */
  at: string;
  cpuNanoseconds: number;
  memoryBytes: number;
  /** Without inactive file cache: memory that cannot be reclaimed. */
  workingSetBytes: number;
  rssBytes: number;
  pageFaults: number;
  majorPageFaults: number;
  swapBytes: number;
  processes: number;
}
export interface AgentStats {
  containers: Record<string, CgroupStats & { /** Of the writable layer. */ diskBytes: number; inodes: number }>;
  /** Of everything in the sandbox. */
  sandbox: CgroupStats;
  interfaces: { name: string; rxBytes: number; rxErrors: number; txBytes: number; txErrors: number }[];
}
