/** Containers for tests of the agent: the smallest OCI configuration that a shell feels at home in. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentClient, AgentProcess } from '../../src/cri/agent/client.ts';
import { type AgentContainer, type CreateContainer, inSandbox } from '../../src/cri/agent/protocol.ts';

export interface ContainerOptions extends Partial<Omit<CreateContainer, 'id' | 'config'>> {
  readonly process?: object;
  readonly linux?: object;
  readonly mounts?: object[];
  readonly resources?: object;
}

const capabilities = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'KILL', 'MKNOD', 'NET_RAW', 'SETGID', 'SETUID', 'SYS_CHROOT']
  .map((name) => `CAP_${name}`)
  // It does not exist: a sandbox without it must not fail, but leave it out.
  .concat('CAP_CHECKPOINT_RESTORE', 'CAP_SYS_RESOURCE');

/** An OCI process. */
export function processOf(args: readonly string[], more: object = {}): object {
  return {
    args,
    cwd: '/',
    env: ['PATH=/usr/bin'],
    terminal: false,
    user: { uid: 0, gid: 0 },
    capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
    rlimits: [{ type: 'RLIMIT_NOFILE', soft: 1024, hard: 1 << 30 }],
    oomScoreAdj: -998,
    ...more,
  };
}

const quiet = ['nosuid', 'noexec', 'nodev'];
const systemMounts = [
  { destination: '/proc', type: 'proc', source: 'proc', options: quiet },
  { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=65536k'] },
  { destination: '/dev/pts', type: 'devpts', source: 'devpts', options: ['nosuid', 'newinstance', 'ptmxmode=0666'] },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: quiet },
  { destination: '/dev/shm', type: 'bind', source: '/dev/shm', options: ['rbind', 'rw'] },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...quiet, 'ro'] },
  { destination: '/sys/fs/cgroup', type: 'cgroup', source: 'cgroup', options: [...quiet, 'ro'] },
];

/** What a test needs of a sandbox. */
export interface Place {
  readonly client: AgentClient;
  /** The sandbox's folder on this machine. */
  readonly shared: string;
  /** What the agent wrote. */
  logs(): Promise<string>;
}

/** What a test does with containers in one sandbox. */
export class Containers {
  readonly sandbox: Place;
  readonly #disk: string;

  constructor(sandbox: Place, disk: string) {
    this.sandbox = sandbox;
    this.#disk = disk;
  }

  /** Creates and starts; the log is `ID.log` in the shared folder. */
  async run(id: string, args: readonly string[], options: ContainerOptions = {}): Promise<number> {
    const { pid } = await this.create(id, args, options);
    await this.sandbox.client.call('start', { id });
    return pid;
  }

  create(id: string, args: readonly string[], options: ContainerOptions = {}): Promise<{ pid: number }> {
    const { process, linux, mounts = [], resources = {}, ...more } = options;
    return this.sandbox.client.call('create', {
      id,
      disk: this.#disk,
      pid: 'container',
      log: `${inSandbox.shared}/${id}.log`,
      terminal: false,
      stdin: false,
      stdinOnce: false,
      config: {
        ociVersion: '1.0.2',
        process: processOf(args, { terminal: options.terminal ?? false, ...process }),
        root: { path: '', readonly: false },
        mounts: [...systemMounts, ...mounts],
        linux: { resources, ...linux },
      },
      ...more,
    });
  }

  shell(id: string, script: string, options: ContainerOptions = {}): Promise<number> {
    return this.run(id, ['sh', '-c', script], options);
  }

  async exec(id: string, args: readonly string[], more: { process?: object; timeout?: number } = {}): Promise<Said> {
    const process = await this.sandbox.client.exec({
      id,
      process: processOf(args, more.process),
      stdin: false,
      timeout: more.timeout ?? 0,
    });
    return said(process);
  }

  /** Standard output of a command that succeeds. */
  async ask(id: string, script: string): Promise<string> {
    const { stdout, stderr, exitCode } = await this.exec(id, ['sh', '-c', script]);
    if (exitCode !== 0) throw new Error(`${script} ended with ${exitCode}: ${stderr}`);
    return stdout.trim();
  }

  async status(id: string): Promise<AgentContainer> {
    const { containers } = await this.sandbox.client.call('list', {});
    const found = containers.find((one) => one.id === id);
    if (!found) throw new Error(`there is no container ${id}`);
    return found;
  }

  async ended(id: string, seconds = 20): Promise<AgentContainer> {
    for (let left = seconds * 50; ; left--) {
      const status = await this.status(id);
      if (status.state === 'exited') return status;
      if (left === 0) throw new Error(`container ${id} still runs:\n${await this.sandbox.logs()}`);
      await sleep(20);
    }
  }

  stop(id: string, timeout: number, signal = 'SIGTERM'): Promise<object> {
    return this.sandbox.client.call('stop', { id, signal, timeout });
  }

  async remove(...ids: string[]): Promise<void> {
    for (const id of ids) await this.sandbox.client.call('delete', { id });
  }

  /** Lines of the CRI log as [stream, tag, text]. */
  async log(id: string): Promise<[string, string, string][]> {
    const lines = (await readFile(join(this.sandbox.shared, `${id}.log`), 'latin1')).split('\n').slice(0, -1);
    return lines.map((line) => {
      const match = /^(\S+) (stdout|stderr) ([FP]) (.*)$/s.exec(line);
      if (!match || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/.test(match[1]!))
        throw new Error(`no log line: ${line}`);
      return [match[2]!, match[3]!, match[4]!];
    });
  }
}

export interface Said {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
}

/** Everything that a process says, and its end. */
export async function said(process: AgentProcess<{ exitCode: number }>): Promise<Said> {
  const [stdout, stderr] = await Promise.all([text(process.stdout), text(process.stderr)]);
  return { stdout, stderr, ...(await process.finished) };
}
