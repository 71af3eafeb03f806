/**
 * Containers: translates CRI calls to agent calls, and agent events to CRI. The record of a container is written before the
 * agent creates it. The agent reports its state, and the service passes that on.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, realpath } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { AgentError } from '../agent/connection.ts';
import { inSandbox } from '../agent/protocol.ts';
import type {
  ContainerConfig,
  CreateContainerRequest,
  LinuxContainerResources,
  NamespaceOption,
} from '../api/messages.ts';
import { invalid, RpcError } from '../api/status.ts';
import type { ImageLibrary, ReadyImage } from '../images/library.ts';
import { containerSpec, noContext } from '../spec/container.ts';
import { mergedResources, ociResources } from '../spec/resources.ts';
import { sharedPath } from '../spec/shares.ts';
import { nanoseconds, type Pod, PodContainer } from './pod.ts';
import type { Pods } from './pods.ts';
import type { ContainerRecord } from './records.ts';

export class Containers {
  readonly #pods: Pods;
  readonly #images: ImageLibrary;
  readonly #mountsSpread: boolean;
  readonly #names = new Set<string>();

  /** `mountsSpread` as in `MountAbilities`. */
  constructor(pods: Pods, images: ImageLibrary, mountsSpread: boolean) {
    this.#mountsSpread = mountsSpread;
    this.#pods = pods;
    this.#images = images;
  }

  /** Finds a container by its id or a unique prefix. */
  find(id: string): { pod: Pod; container: PodContainer } | undefined {
    const like: { pod: Pod; container: PodContainer }[] = [];
    for (const pod of this.#pods.all.values()) {
      const exact = pod.containers.get(id);
      if (exact) return { pod, container: exact };
      if (!id) continue;
      for (const container of pod.containers.values()) if (container.id.startsWith(id)) like.push({ pod, container });
    }
    return like.length === 1 ? like[0] : undefined;
  }

  get(id: string): { pod: Pod; container: PodContainer } {
    const found = this.find(id);
    if (!found) throw new RpcError('NOT_FOUND', `container not found: ${JSON.stringify(id)}`);
    return found;
  }

  /** As `get`, but throws if the container does not run. */
  running(id: string): { pod: Pod; container: PodContainer } {
    const found = this.get(id);
    if (found.container.state === 'running') return found;
    throw new RpcError('FAILED_PRECONDITION', `the container ${found.container.id} is ${found.container.state}`);
  }

  /** Returns the id. */
  async create({ podSandboxId, config }: CreateContainerRequest, signal: AbortSignal): Promise<string> {
    const pod = this.#pods.get(podSandboxId);
    if (!config?.metadata || !config.image?.image) throw invalid('a container needs a config with metadata and image');
    if (!pod.isReady) throw new RpcError('FAILED_PRECONDITION', `the sandbox ${pod.id} is stopped`);
    const name = `${pod.id}/${config.metadata.name}_${config.metadata.attempt}`;
    const taken = [...pod.containers.values()].some(
      ({ record: { config: other } }) =>
        other.metadata?.name === config.metadata?.name && other.metadata?.attempt === config.metadata?.attempt,
    );
    if (taken || this.#names.has(name))
      throw new RpcError('ALREADY_EXISTS', `there is a container for ${name} already`);
    this.#names.add(name);
    try {
      return await this.#make(pod, config, signal);
    } finally {
      this.#names.delete(name);
    }
  }

  async #make(pod: Pod, config: ContainerConfig, signal: AbortSignal): Promise<string> {
    const { agent: abilities, config: sandbox, shares } = pod.record;
    const image = await this.#images.open(config.image!.image);
    const defaults = image.config.config ?? {};
    const spec = await containerSpec(config, sandbox, { ...defaults, ...image }, shares, {
      ...abilities!,
      mountsSpread: this.#mountsSpread,
    });
    const mounted = await Promise.all(spec.images.map((reference) => this.#images.open(reference)));
    const log = config.logPath && sandbox.logDirectory ? join(sandbox.logDirectory, config.logPath) : '';
    const id = randomBytes(16).toString('hex');
    const record: ContainerRecord = {
      id,
      config,
      log,
      sandbox: pod.id,
      createdAt: nanoseconds(),
      imageId: image.image.id,
      process: spec.config.process,
      resources: config.linux?.resources ?? null,
      stopSignal: stopSignal(config, defaults.StopSignal),
      images: [image, ...mounted].map((one) => one.image.id),
      mounted: Object.fromEntries(spec.images.map((name, i) => [name, mounted[i]!.image.id])),
      state: 'making',
    };
    const container = new PodContainer(record);
    for (const one of record.images) this.#images.retain(one);
    try {
      await this.#pods.records.saveContainer(record);
      pod.containers.set(id, container);
      await pod.agent.call(
        'create',
        {
          id,
          config: spec.config,
          terminal: config.tty,
          stdin: config.stdin,
          stdinOnce: config.stdinOnce,
          disk: diskInSandbox(image),
          pid: pidNamespace(config.linux?.securityContext?.namespaceOptions ?? null),
          imageMounts: mounted.map(diskInSandbox),
          log: log ? await logInSandbox(log) : '',
        },
        { signal },
      );
      container.record = { ...container.record, state: 'made' };
      await this.#pods.records.saveContainer(container.record);
      return id;
    } catch (error) {
      await this.#discard(pod, container);
      throw explained(error);
    }
  }

  /** Cleans up after a failed creation, even if the agent is still working on it. */
  async #discard(pod: Pod, container: PodContainer): Promise<void> {
    await pod.agent.call('delete', { id: container.id }, { timeout: 10_000 }).catch(() => {});
    pod.containers.delete(container.id);
    await this.release(container);
    await this.#pods.records.forgetContainer(pod.id, container.id);
  }

  /** Releases the container's images, so that they can be removed. */
  async release(container: PodContainer): Promise<void> {
    for (const image of container.record.images) await this.#images.release(image);
  }

  /** Containers found at the start retain their images too. */
  retainAll(): void {
    for (const pod of this.#pods.all.values())
      for (const { record } of pod.containers.values()) for (const image of record.images) this.#images.retain(image);
  }

  async start(id: string): Promise<void> {
    const { pod, container } = this.get(id);
    if (container.state !== 'created')
      throw new RpcError('FAILED_PRECONDITION', `the container ${container.id} is ${container.state}, not created`);
    try {
      const { startedAt } = await pod.agent.call('start', { id: container.id });
      // the event may arrive after the reply, but a status request must already see a running container
      if (container.state === 'created') this.#pods.heard(pod, { ...container.now, state: 'running', startedAt });
    } catch (error) {
      // only a refusal by the runtime ends the container: a lost reply, or a second call for the same start, does not tell its state
      if (!(error instanceof AgentError && error.failure === 'failed')) throw explained(error);
      const { message } = explained(error);
      container.record = { ...container.record, startError: message };
      const at = { startedAt: nanoseconds(), finishedAt: nanoseconds() };
      this.#pods.heard(pod, { ...container.now, ...at, state: 'exited', exitCode: 128 });
      throw explained(error);
    }
  }

  /** `timeout`: seconds until the container is killed. Ended and unknown containers are ignored. */
  async stop(id: string, timeout: number): Promise<void> {
    const found = this.find(id);
    if (!found?.pod.isReady || found.container.state === 'exited') return;
    const { pod, container } = found;
    const signal = timeout > 0 ? container.record.stopSignal : 'SIGKILL';
    await this.#ask(() => pod.agent.call('stop', { id: container.id, signal, timeout: timeout * 1000 }));
    await this.#refresh(pod, container);
  }

  /** Kills a running container first. Unknown containers are ignored. */
  async remove(id: string): Promise<void> {
    const found = this.find(id);
    if (!found) return;
    const { pod, container } = found;
    if (pod.isReady) await this.#ask(() => pod.agent.call('delete', { id: container.id }));
    if (!pod.containers.delete(container.id)) return; // a concurrent call was faster
    await this.release(container);
    await this.#pods.records.forgetContainer(pod.id, container.id);
  }

  async update(id: string, resources: LinuxContainerResources): Promise<void> {
    const { pod, container } = this.get(id);
    if (container.state === 'exited')
      throw new RpcError('FAILED_PRECONDITION', `the container ${container.id} has ended`);
    await this.#ask(() => pod.agent.call('update', { id: container.id, resources: ociResources(resources) }));
    container.record = { ...container.record, resources: mergedResources(container.record.resources, resources) };
    await this.#pods.records.saveContainer(container.record);
  }

  async reopenLog(id: string): Promise<void> {
    const { pod, container } = this.running(id);
    await this.#ask(() => pod.agent.call('reopen', { id: container.id }));
  }

  /** Records the end when a reply reports it, even if the event has not arrived yet. */
  async #refresh(pod: Pod, container: PodContainer): Promise<void> {
    const { containers } = await this.#ask(() => pod.agent.call('list', {}));
    const now = containers.find((one) => one.id === container.id);
    if (now) this.#pods.heard(pod, now);
  }

  async #ask<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      throw explained(error);
    }
  }
}

const diskInSandbox = ({ disk }: ReadyImage): string => join(inSandbox.images, basename(disk));

/** The file need not exist yet, but its folder must. */
async function logInSandbox(path: string): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  return join(sharedPath(await realpath(dirname(path))), basename(path));
}

function pidNamespace(options: NamespaceOption | null): 'container' | 'pod' | 'node' | { target: string } {
  const mode = (options ?? noContext.namespaceOptions)?.pid ?? 'POD';
  if (mode !== 'TARGET') return mode.toLowerCase() as 'container' | 'pod' | 'node';
  if (!options?.targetId) throw invalid('the TARGET process namespace needs a target_id');
  return { target: options.targetId };
}

/** CRI names them SIGRTMINPLUS3; the usual name is SIGRTMIN+3. */
function stopSignal({ stopSignal: wish }: ContainerConfig, image: string | null | undefined): string {
  if (wish === 'RUNTIME_DEFAULT') return image || 'SIGTERM';
  return wish.replace('PLUS', '+').replace('MINUS', '-');
}

const statuses = {
  'not-found': 'NOT_FOUND',
  exists: 'ALREADY_EXISTS',
  invalid: 'INVALID_ARGUMENT',
  'wrong-state': 'FAILED_PRECONDITION',
  timeout: 'DEADLINE_EXCEEDED',
  refused: 'UNAVAILABLE',
  unreachable: 'UNAVAILABLE',
  failed: 'UNKNOWN',
} as const;

/** Converts a failure of the agent to a gRPC status. */
export function explained(error: unknown): Error {
  if (!(error instanceof AgentError)) return error as Error;
  return new RpcError(statuses[error.failure], error.message, { cause: error });
}
