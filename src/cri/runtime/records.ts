/**
 * The service's records of its pods, as files: the kubelet's data (annotations are too long for a label) and data that must
 * outlive a sandbox (exit codes). The records never decide which sandboxes exist or which of their programs run: the provider
 * and the agents do. Each sandbox has one folder, so removing the folder removes its records.
 *
 *   ROOT/sandboxes/ID/sandbox.json          written before the sandbox is created, and when its state changes
 *   ROOT/sandboxes/ID/containers/ID.json    likewise, for its containers
 *   ROOT/sandboxes/ID/shared/               visible in the sandbox: pod files; the agent's records of containers' ends
 *   ROOT/sandboxes/ID/socket/agent.sock     the agent
 */
import { constants, existsSync } from 'node:fs';
import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isErrno } from '../../host/errors.ts';
import { atomicWrite } from '../../host/files.ts';
import { type AgentContainer, type AgentHello, isAgentContainer } from '../agent/protocol.ts';
import type { ContainerConfig, LinuxContainerResources, PodSandboxConfig } from '../api/messages.ts';
import type { OciProcess } from '../spec/container.ts';

export interface PodRecord {
  readonly id: string;
  /** Of the provider's machine. */
  readonly machine: string;
  /** Nanoseconds since 1970, as text. */
  readonly createdAt: string;
  readonly config: PodSandboxConfig;
  readonly runtimeHandler: string;
  /** Folders of the host that are shared with the sandbox. */
  readonly shares: readonly string[];
  /** The first address is the pod's; empty until it is ready. */
  readonly addresses: readonly string[];
  /** The agent's description of itself; absent until the sandbox is ready. */
  readonly agent?: AgentHello;
  /** `making` after a crash means an incomplete sandbox, which is removed. */
  readonly state: 'making' | 'ready' | 'stopped';
}

export interface ContainerRecord {
  readonly id: string;
  readonly sandbox: string;
  readonly createdAt: string;
  readonly config: ContainerConfig;
  readonly imageId: string;
  /** The process that later programs in the container are based on. */
  readonly process: OciProcess;
  /** As `resources` of its status. */
  readonly resources: LinuxContainerResources | null;
  readonly stopSignal: string;
  /** On the host; empty: none. */
  readonly log: string;
  /** Images that it uses: its own and those that it mounts. */
  readonly images: readonly string[];
  /** Ids of mounted images, by the names in the request. */
  readonly mounted: Readonly<Record<string, string>>;
  readonly state: 'making' | 'made';
  /** Why its program could not be started. */
  readonly startError?: string;
  /** The last known state. */
  readonly last?: AgentContainer;
}

export interface Remembered {
  readonly sandbox: PodRecord;
  readonly containers: ContainerRecord[];
}

export class Records {
  readonly #folder: string;
  /** The last change of each sandbox's files. */
  readonly #changes = new Map<string, Promise<unknown>>();

  constructor(root: string) {
    this.#folder = join(root, 'sandboxes');
  }

  folder(sandbox: string): string {
    return join(this.#folder, sandbox);
  }

  shared(sandbox: string): string {
    return join(this.#folder, sandbox, 'shared');
  }

  socket(sandbox: string): string {
    return join(this.#folder, sandbox, 'socket', 'agent.sock');
  }

  /** Creates the folders of a new sandbox and writes its record. */
  async begin(record: PodRecord): Promise<void> {
    for (const name of ['shared/containers', 'socket', 'containers'])
      await mkdir(join(this.folder(record.id), name), { recursive: true, mode: 0o700 });
    await this.savePod(record);
  }

  savePod(record: PodRecord): Promise<void> {
    const path = join(this.folder(record.id), 'sandbox.json');
    return this.#change(record.id, () => atomicWrite(path, JSON.stringify(record), 0o600));
  }

  /** Does nothing when the sandbox's records are removed. */
  saveContainer(record: ContainerRecord): Promise<void> {
    const path = this.#container(record.sandbox, record.id);
    return this.#change(record.sandbox, async () => {
      if (existsSync(dirname(path))) await atomicWrite(path, JSON.stringify(record), 0o600);
    });
  }

  forgetContainer(sandbox: string, id: string): Promise<void> {
    return this.#change(sandbox, async () => {
      await rm(this.#container(sandbox, id), { force: true });
      await rm(this.#end(sandbox, id), { force: true });
    });
  }

  forgetPod(id: string): Promise<void> {
    return this.#change(id, () => rm(this.folder(id), { recursive: true, force: true }));
  }

  /**
   * One after the other, in the order of the calls: nothing waits until the news of an agent is written, and
   * must neither overtake what is said later nor bring back what is forgotten.
   */
  #change<T>(sandbox: string, work: () => Promise<T>): Promise<T> {
    const mine = (this.#changes.get(sandbox) ?? Promise.resolve()).then(work, work);
    const settled = mine
      .catch(() => {})
      .finally(() => {
        if (this.#changes.get(sandbox) === settled) this.#changes.delete(sandbox);
      });
    this.#changes.set(sandbox, settled);
    return mine;
  }

  /** The end of a container as its agent recorded it; undefined without a record. The sandbox can write to this folder. */
  async end(sandbox: string, id: string): Promise<AgentContainer | undefined> {
    const said = await readStrangers(this.#end(sandbox, id));
    return isAgentContainer(said) && said.id === id && said.state === 'exited' ? said : undefined;
  }

  /** Loads all records. Removes folders without a complete record: a crash left them during a creation or removal. */
  async load(): Promise<Remembered[]> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const all: Remembered[] = [];
    for (const id of await readdir(this.#folder)) {
      const sandbox = await readJson<PodRecord>(join(this.folder(id), 'sandbox.json'));
      if (!sandbox) {
        await this.forgetPod(id);
        continue;
      }
      await removeHalfWritten(this.folder(id));
      const folder = join(this.folder(id), 'containers');
      await removeHalfWritten(folder);
      const read = (await readdir(folder)).map((name) => readJson<ContainerRecord>(join(folder, name)));
      all.push({ sandbox, containers: (await Promise.all(read)).filter((one) => one !== undefined) });
    }
    return all;
  }

  #container(sandbox: string, id: string): string {
    return join(this.folder(sandbox), 'containers', `${id}.json`);
  }

  #end(sandbox: string, id: string): string {
    return join(this.shared(sandbox), 'containers', `${id}.json`);
  }
}

/** A leftover of an `atomicWrite` after a crash. */
async function removeHalfWritten(folder: string): Promise<void> {
  for (const name of await readdir(folder)) if (name.endsWith('.tmp')) await rm(join(folder, name), { force: true });
}

/** An agent's record has some 200 bytes. */
const longestEnd = 4096;

/** As `readJson`, of an untrusted path, which may be a link, a pipe without a writer, or an endless file. */
async function readStrangers(path: string): Promise<unknown> {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  try {
    const file = await open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    try {
      const { bytesRead, buffer } = await file.read(Buffer.alloc(longestEnd), 0, longestEnd, null);
      return JSON.parse(buffer.toString('utf8', 0, bytesRead));
    } finally {
      await file.close();
    }
  } catch (error) {
    const isOther = isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP', 'EISDIR', 'EAGAIN', 'ENXIO');
    if (isOther || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Undefined when the file is missing or incomplete. */
async function readJson<T>(path: string): Promise<T | undefined> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR') || error instanceof SyntaxError) return undefined;
    throw error;
  }
}
