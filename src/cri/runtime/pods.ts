/**
 * Pods: created through the provider, used through their agent, found again after a restart.
 *
 * Three words, in this room and its messages:
 * - pod: CRI's PodSandbox with its containers, as clients see it. It has a record and exists until RemovePodSandbox.
 * - sandbox: the isolated environment that the pod's containers run in, with its agent. It ends when the pod is stopped.
 * - machine: the provider's container or virtual machine that is the sandbox, by the provider's name.
 *
 * A record is written before the machine is created and deleted after it is removed. So a crash leaves either a record
 * without a machine (the pod is over) or a machine without a record (no client was told of it: it is removed). The second
 * can appear late, because the provider's program may outlive the service: `reconcile` looks again and again.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, realpath, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AgentClient } from '../agent/client.ts';
import { AgentError } from '../agent/connection.ts';
import { type AgentContainer, type AgentHello, isAgentContainer } from '../agent/protocol.ts';
import type { PodSandboxConfig, RunPodSandboxRequest } from '../api/messages.ts';
import { invalid, RpcError } from '../api/status.ts';
import { podFiles } from '../spec/mounts.ts';
import { hostsFile, resolverConfiguration } from '../spec/pod-files.ts';
import { outermost } from '../spec/shares.ts';
import { Batcher } from './batcher.ts';
import { machineName, machineSpec, podKey, refusePod } from './machine.ts';
import type { CriOptions } from './options.ts';
import { nanoseconds, Pod, PodContainer } from './pod.ts';
import { type PodRecord, Records } from './records.ts';

/** Milliseconds that a sandbox has from its start to the agent's first answer: a virtual machine boots within it. */
const bootTime = 60_000;
const bootPoll = 10;

export class Pods {
  readonly records: Records;
  readonly all = new Map<string, Pod>();
  /** Called for every change of a container. */
  onContainer: (pod: Pod, container: PodContainer, before: AgentContainer['state']) => void = () => {};
  /** Called for every change of a sandbox: created, ended, removed. */
  onPod: (pod: Pod, change: 'started' | 'stopped' | 'removed') => void = () => {};
  readonly #options: CriOptions;
  /** Name of the folder with image disks, on the host. */
  readonly #disks: string;
  readonly #service: string;
  readonly #making = new Set<string>();
  #isClosed = false;
  readonly #removals: Batcher;
  /** The newest agent's description of its sandbox; all sandboxes are alike. */
  abilities: AgentHello | undefined;

  constructor(options: CriOptions, disks: string) {
    this.#options = options;
    this.#disks = disks;
    this.records = new Records(options.root);
    this.#removals = new Batcher((machines) => options.provider.remove(machines));
    this.#service = createHash('sha256').update(options.root).digest('hex').slice(0, 12);
  }

  /** Finds a pod by its id or a unique prefix. */
  find(id: string): Pod | undefined {
    const exact = this.all.get(id);
    if (exact || !id) return exact;
    const like = [...this.all.values()].filter((pod) => pod.id.startsWith(id));
    return like.length === 1 ? like[0] : undefined;
  }

  get(id: string): Pod {
    const pod = this.find(id);
    if (!pod) throw new RpcError('NOT_FOUND', `pod sandbox not found: ${JSON.stringify(id)}`);
    return pod;
  }

  /** On return the pod is READY and its network is up. Leaves nothing behind when it throws. */
  async run({ config, runtimeHandler }: RunPodSandboxRequest, signal: AbortSignal): Promise<Pod> {
    if (!config?.metadata) throw invalid('a sandbox needs a config with metadata');
    refusePod(config, runtimeHandler);
    const name = podKey(config);
    if (this.#making.has(name) || [...this.all.values()].some((pod) => podKey(pod.record.config) === name))
      throw new RpcError('ALREADY_EXISTS', `there is a sandbox for ${name} already`);
    this.#making.add(name);
    try {
      return await this.#make(config, runtimeHandler, signal);
    } finally {
      this.#making.delete(name);
    }
  }

  async #make(config: PodSandboxConfig, runtimeHandler: string, signal: AbortSignal): Promise<Pod> {
    const { provider } = this.#options;
    const id = randomBytes(16).toString('hex');
    const shares = await this.#sharesFor(config);
    const machine = machineName(id);
    let record: PodRecord = {
      id,
      machine,
      config,
      runtimeHandler,
      shares,
      createdAt: nanoseconds(),
      addresses: [],
      state: 'making',
    };
    const pod = new Pod(record, new AgentClient(this.records.socket(id)));
    this.#making.add(machine);
    try {
      await this.records.begin(record);
      await this.#writePodFiles(id, config, []);
      await provider.createSandbox(
        await machineSpec(record, this.#options, {
          service: this.#service,
          shared: this.records.shared(id),
          socket: this.records.socket(id),
          disks: this.#disks,
        }),
        signal,
      );
      const agent = await this.#boot(pod, signal);
      await pod.agent.call('configure', this.#setup(config), { signal });
      await this.#writePodFiles(id, config, agent.addresses);
      this.abilities = agent;
      record = { ...record, agent, addresses: agent.addresses, state: 'ready' };
      pod.record = record;
      await this.records.savePod(record);
    } catch (error) {
      await this.#undo(record);
      throw error;
    } finally {
      this.#making.delete(machine);
    }
    this.all.set(id, pod);
    this.#watch(pod);
    this.onPod(pod, 'started');
    return pod;
  }

  async #undo(record: PodRecord): Promise<void> {
    try {
      await this.#removals.add(record.machine);
      await this.records.forgetPod(record.id);
    } catch (error) {
      this.#options.log(`sandbox ${record.id} could not be removed yet: ${(error as Error).message}`);
    }
  }

  /** The kubelet's folders, and the pod's log folder if it is outside them. */
  async #sharesFor({ logDirectory }: PodSandboxConfig): Promise<string[]> {
    if (!logDirectory) return [...this.#options.shares];
    await mkdir(logDirectory, { recursive: true });
    return outermost([...this.#options.shares, await realpath(logDirectory)]);
  }

  #setup(config: PodSandboxConfig) {
    return {
      hostname: config.hostname,
      sysctls: config.linux?.sysctls ?? {},
      routes: [...this.#options.routes],
      sharePids: true,
    };
  }

  async #writePodFiles(id: string, config: PodSandboxConfig, addresses: readonly string[]): Promise<void> {
    const write = (name: string, text: string) => writeFile(join(this.records.shared(id), name), text);
    await write(podFiles.hosts, hostsFile(addresses, config.hostname));
    await write(podFiles.hostname, `${config.hostname}\n`);
    const resolver = resolverConfiguration(config.dnsConfig);
    if (resolver !== undefined) await write(podFiles.resolv, resolver);
  }

  /** Waits for the agent. If the machine ends in the meantime, its log tells why. */
  async #boot(pod: Pod, signal: AbortSignal): Promise<AgentHello> {
    const end = Date.now() + bootTime;
    let asked = Date.now();
    for (;;) {
      try {
        return await pod.agent.call('hello', {}, { signal, timeout: 5000 });
      } catch (error) {
        if (!(error instanceof AgentError) || !['unreachable', 'timeout'].includes(error.failure)) throw error;
        if (Date.now() > end) throw await this.#bootFailure(pod, `did not answer in ${bootTime / 1000} s`);
        if (Date.now() - asked > 2000) {
          asked = Date.now();
          if (!(await this.#isRunning(pod))) throw await this.#bootFailure(pod, 'ended at once');
        }
        await sleep(bootPoll, undefined, { signal });
      }
    }
  }

  async #bootFailure(pod: Pod, what: string): Promise<RpcError> {
    const said = await this.#options.provider.logs(pod.record.machine).catch(() => '');
    return new RpcError(
      'UNAVAILABLE',
      `the sandbox ${pod.id} ${what}; it said: ${said.trim().slice(-500) || 'nothing'}`,
    );
  }

  async #isRunning(pod: Pod): Promise<boolean> {
    const machines = await this.#options.provider.sandboxes(this.#service);
    return machines.some(({ name, state }) => name === pod.record.machine && state === 'running');
  }

  /** Follows the agent's events until the sandbox ends. */
  #watch(pod: Pod): void {
    if (this.#isClosed) return; // the next service finds it
    pod.watch = new AbortController();
    const { signal } = pod.watch;
    const follow = async (): Promise<void> => {
      for (let failures = 0; failures < 5 && !signal.aborted; failures++) {
        try {
          await pod.agent.events((event) => {
            failures = 0;
            for (const one of [...(event.containers ?? []), ...(event.container ? [event.container] : [])])
              this.heard(pod, one);
          }, signal);
        } catch (error) {
          if (!(error instanceof AgentError)) throw error;
          await sleep(100 * (failures + 1));
        }
        if (signal.aborted) return;
        if (failures > 0 && !(await this.#isRunning(pod).catch(() => true))) break;
      }
      if (!signal.aborted) await pod.inTurn(() => this.#over(pod));
    };
    follow().catch((error) => this.#options.log(`sandbox ${pod.id}: ${(error as Error).message}`));
  }

  /** Applies an agent's report on a container; records changes and reports them. */
  heard(pod: Pod, now: AgentContainer): void {
    const container = isAgentContainer(now) ? pod.containers.get(now.id) : undefined;
    if (!container) return;
    const before = container.now.state;
    container.now = now;
    if (before === now.state && now.state !== 'created') return;
    container.record = { ...container.record, last: now };
    this.records
      .saveContainer(container.record)
      .catch((error) => this.#options.log(`container ${now.id}: ${(error as Error).message}`));
    this.onContainer(pod, container, before);
  }

  /** The sandbox has ended, and its programs with it. */
  async #over(pod: Pod): Promise<void> {
    if (pod.record.state === 'stopped') return;
    pod.watch.abort();
    for (const container of pod.containers.values()) {
      if (container.state === 'exited') continue;
      const end = (await this.records.end(pod.id, container.id)) ?? {
        ...container.now,
        state: 'exited' as const,
        pid: 0,
        finishedAt: nanoseconds(),
        exitCode: 137,
      };
      this.heard(pod, end);
    }
    pod.record = { ...pod.record, state: 'stopped' };
    await this.records.savePod(pod.record);
    this.onPod(pod, 'stopped');
  }

  /**
   * Ends all that runs in it, and removes its machine: nothing of a stopped one is used again, and stopping it first would
   * cost as much as removing it. Again, or of an unknown one: fine.
   */
  async stop(id: string): Promise<void> {
    const pod = this.find(id);
    await pod?.inTurn(async () => {
      if (!pod.isReady) return;
      await this.#endContainers(pod);
      await this.#removeMachine(pod);
      await this.#over(pod);
    });
  }

  /**
   * The watching ends first: it would ask the provider why the agent is gone. It begins again when the machine could not be
   * removed.
   */
  async #removeMachine(pod: Pod): Promise<void> {
    pod.watch.abort();
    try {
      await this.#removals.add(pod.record.machine);
      pod.hasMachine = false;
    } catch (error) {
      if (pod.isReady) this.#watch(pod);
      throw error;
    }
  }

  /** Stops the containers first, so that their exit codes are known. A sandbox that does not answer ends with its machine. */
  async #endContainers(pod: Pod): Promise<void> {
    const running = [...pod.containers.values()].filter(({ state }) => state !== 'exited');
    if (running.length === 0) return;
    try {
      await Promise.all(
        running.map(({ id }) => pod.agent.call('stop', { id, signal: 'SIGKILL', timeout: 0 }, { timeout: 10_000 })),
      );
      const { containers } = await pod.agent.call('list', {}, { timeout: 5000 });
      for (const one of containers) this.heard(pod, one);
    } catch (error) {
      if (!(error instanceof AgentError)) throw error;
    }
  }

  /** `release` is called with the containers that are removed with it. Missing sandboxes are ignored. */
  async remove(id: string, release: (container: PodContainer) => Promise<void>): Promise<void> {
    const pod = this.find(id);
    await pod?.inTurn(async () => {
      if (!this.all.has(pod.id)) return;
      if (pod.isReady) await this.#endContainers(pod);
      if (pod.hasMachine) await this.#removeMachine(pod);
      await this.#over(pod);
      for (const container of pod.containers.values()) await release(container);
      await this.records.forgetPod(pod.id);
      this.all.delete(pod.id);
      this.onPod(pod, 'removed');
    });
  }

  /** Finds the pods of an earlier service: adopts running ones and removes incomplete ones. */
  async adopt(): Promise<void> {
    const machines = new Map(
      (await this.#options.provider.sandboxes(this.#service)).map((machine) => [machine.name, machine]),
    );
    for (const { sandbox, containers } of await this.records.load()) {
      if (sandbox.state === 'making') {
        await this.#undo(sandbox);
        continue;
      }
      const pod = new Pod(sandbox, new AgentClient(this.records.socket(sandbox.id)));
      for (const record of containers) pod.containers.set(record.id, new PodContainer(record));
      pod.hasMachine = machines.has(sandbox.machine);
      this.all.set(pod.id, pod);
      if (!pod.isReady) continue;
      if (machines.get(sandbox.machine)?.state === 'running') await this.#adoptRunning(pod);
      else await this.#over(pod);
    }
    await this.reconcile();
  }

  async #adoptRunning(pod: Pod): Promise<void> {
    try {
      const { containers } = await pod.agent.call('list', {}, { timeout: 10_000 });
      const known = new Map(containers.map((one) => [one.id, one]));
      for (const container of [...pod.containers.values()]) {
        const now = known.get(container.id);
        if (now) this.heard(pod, now);
        // its creation was never confirmed, or its removal had begun: no client knows it
        if (!now || container.record.state === 'making') await this.#forget(pod, container);
      }
      for (const { id } of containers) if (!pod.containers.has(id)) await pod.agent.call('delete', { id });
      this.#watch(pod);
    } catch (error) {
      if (!(error instanceof AgentError)) throw error;
      this.#options.log(`sandbox ${pod.id} does not answer and counts as stopped: ${error.message}`);
      await this.#over(pod);
    }
  }

  async #forget(pod: Pod, container: PodContainer): Promise<void> {
    await pod.agent.call('delete', { id: container.id });
    pod.containers.delete(container.id);
    await this.records.forgetContainer(pod.id, container.id);
  }

  /** Removes unknown machines, and detects machines that ended. */
  async reconcile(): Promise<void> {
    const before = [...this.all.values()].filter((pod) => pod.isReady); // the list lacks pods that start in the meantime
    const machines = await this.#options.provider.sandboxes(this.#service);
    const known = new Set([...this.all.values()].map((pod) => pod.record.machine));
    const orphans = machines.filter(({ name }) => !known.has(name) && !this.#making.has(name));
    if (orphans.length > 0) await this.#options.provider.remove(orphans.map(({ name }) => name));
    const running = new Set(machines.filter(({ state }) => state === 'running').map(({ name }) => name));
    for (const pod of before)
      if (!running.has(pod.record.machine) && this.all.has(pod.id)) await pod.inTurn(() => this.#over(pod));
  }

  /** Stops watching; sandboxes keep running. */
  close(): void {
    this.#isClosed = true;
    for (const pod of this.all.values()) pod.watch.abort();
  }
}
