/** Pods as a kubelet makes them, in a line each. */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type {
  ContainerConfig,
  ContainerStatus,
  PodSandboxConfig,
  PodSandboxStatus,
} from '../../../src/cri/api/messages.ts';
import type { Outgoing } from '../../../src/cri/api/services.ts';
import type { CriClient } from './client.ts';

/** Busybox with everything that the tests use; served by `serveCriImages`. */
export const busybox = 'registry.k8s.io/e2e-test-images/busybox:1.29-2';

export interface TestPod {
  readonly id: string;
  readonly config: Outgoing<PodSandboxConfig>;
}

export interface Said {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class Pods {
  readonly client: CriClient;
  /** On this host, shared with sandboxes; logs lie in it. */
  readonly folder: string;

  constructor(client: CriClient, folder: string) {
    this.client = client;
    this.folder = folder;
  }

  /** What a kubelet says of a pod with this name; no other pod is the same. */
  async config(name: string, more: Outgoing<PodSandboxConfig> = {}): Promise<Outgoing<PodSandboxConfig>> {
    const uid = randomBytes(8).toString('hex');
    const logDirectory = join(this.folder, 'logs', `${name}_${uid}`);
    await mkdir(logDirectory, { recursive: true });
    return { metadata: { name, uid, namespace: 'default', attempt: 0 }, hostname: name, logDirectory, ...more };
  }

  async sandbox(name: string, more: Outgoing<PodSandboxConfig> = {}): Promise<TestPod> {
    const config = await this.config(name, more);
    const { podSandboxId } = await this.client.call('runPodSandbox', { config });
    return { id: podSandboxId, config };
  }

  /** Its log is `NAME.log` in the pod's folder. Answers with its id. */
  async create(
    pod: TestPod,
    name: string,
    command: readonly string[],
    more: Outgoing<ContainerConfig> = {},
  ): Promise<string> {
    const config: Outgoing<ContainerConfig> = {
      metadata: { name, attempt: 0 },
      image: { image: busybox },
      command: [...command],
      logPath: `${name}.log`,
      ...more,
    };
    const request = { podSandboxId: pod.id, config, sandboxConfig: pod.config };
    return (await this.client.call('createContainer', request)).containerId;
  }

  /** As `create`, with a shell's line, and started. */
  async run(pod: TestPod, name: string, line: string, more: Outgoing<ContainerConfig> = {}): Promise<string> {
    const containerId = await this.create(pod, name, ['sh', '-c', line], more);
    await this.client.call('startContainer', { containerId });
    return containerId;
  }

  async exec(containerId: string, line: string): Promise<Said> {
    const said = await this.client.call('execSync', { containerId, cmd: ['sh', '-c', line], timeout: 30 });
    return {
      exitCode: said.exitCode,
      stdout: Buffer.from(said.stdout).toString(),
      stderr: Buffer.from(said.stderr).toString(),
    };
  }

  /** The output of what has to succeed, without its last newline. */
  async output(containerId: string, line: string): Promise<string> {
    const { exitCode, stdout, stderr } = await this.exec(containerId, line);
    if (exitCode !== 0) throw new Error(`${line}\nended with ${exitCode} in ${containerId}\n${stdout}${stderr}`);
    return stdout.trimEnd();
  }

  async status(containerId: string): Promise<ContainerStatus> {
    return (await this.client.call('containerStatus', { containerId })).status!;
  }

  async sandboxStatus(podSandboxId: string): Promise<PodSandboxStatus> {
    return (await this.client.call('podSandboxStatus', { podSandboxId })).status!;
  }

  /** Its status when it has ended. */
  ended(containerId: string, seconds = 20): Promise<ContainerStatus> {
    return until(`container ${containerId} has ended`, seconds, async () => {
      const status = await this.status(containerId);
      return status.state === 'CONTAINER_EXITED' ? status : undefined;
    });
  }

  /** Waits until a container has written this into its log. */
  async says(pod: TestPod, name: string, text: string): Promise<void> {
    const log = join(pod.config.logDirectory!, `${name}.log`);
    await until(`${name} says ${text}`, 10, async () =>
      (await readFile(log, 'utf8')).includes(text) ? true : undefined,
    );
  }

  /** Stops and removes; missing objects are fine. */
  async remove(...pods: readonly (TestPod | string)[]): Promise<void> {
    for (const pod of pods) {
      const podSandboxId = typeof pod === 'string' ? pod : pod.id;
      await this.client.call('stopPodSandbox', { podSandboxId });
      await this.client.call('removePodSandbox', { podSandboxId });
    }
  }
}

/** Asks until there is an answer; throws with what was waited for. */
export async function until<T>(what: string, seconds: number, ask: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${what}`);
    await sleep(100);
  }
}
