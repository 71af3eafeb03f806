/**
 * Apple's `container` as a provider: each node is a virtual machine. kina runs its command line and reads its JSON. Text
 * for people is read only to classify failures (`apple-errors.ts`).
 *
 * Properties of the runtime, and how this provider handles them:
 * - Creating, booting and deleting share a lock in the service, and a request that waits a minute for it fails. Nodes are
 *   created and started one after the other.
 * - A failed `run` may leave a node behind, which only a forced removal deletes.
 * - The service sometimes does not answer a request. Requests that change nothing are retried.
 * - `container cp` writes below mounts in the node and reports success. Files are copied through `exec -i`.
 * - A published port stays the same, but addresses change at every start.
 */

import { spawn } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, networkInterfaces, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import semver from 'semver';
import { processEnvironment } from '../host/environment.ts';
import { KinaError } from '../host/errors.ts';
import { freePorts } from '../host/ports.ts';
import { lastLines, type ProcessOptions, type ProcessResult, run, start } from '../host/process.ts';
import { networkArguments, runArguments, sandboxArguments, subnetCandidates, uniqueLocal } from './apple-argv.ts';
import {
  type AppleNetwork,
  decodeImage,
  decodeNetworks,
  decodeNodes,
  decodePorts,
  decodeService,
  subnetsOf,
  versionIn,
} from './apple-decode.ts';
import { appleFailure, minimumVersion, oneNodeOnly, tooOld, troubleOf } from './apple-errors.ts';
import type {
  Capabilities,
  EngineHost,
  EngineImage,
  ExecOptions,
  ExecResult,
  NetworkSpec,
  NodeSpec,
  NodeStatus,
  Provider,
  SandboxSpec,
} from './provider.ts';
import { nodeLabels } from './provider.ts';

const program = 'container';

/** CONTAINER_DEBUG writes a log to standard error; CONTAINER_DEFAULT_PLATFORM overrides `--platform`. */
const environment = { CONTAINER_DEBUG: undefined, CONTAINER_DEFAULT_PLATFORM: undefined };

/** How often a request to an overloaded service is made, and the milliseconds between attempts. */
const attempts = 4;
const pause = 1000;

const list = ['list', '--all', '--format=json'] as const;
const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
const platform = `linux/${architecture}`;

export class AppleProvider implements Provider {
  readonly name = 'apple';
  readonly archive = 'oci-archive';
  readonly capabilities: Capabilities = {
    nodeKernel: true,
    rosetta: true,
    fixedSandboxSize: true,
    mountPropagation: false,
    // `cpuOverhead`, and memory of the virtual machine itself: kubelet would assign them to pods
    nodeOverhead: { cpus: 1, memory: 200 },
  };
  readonly connectivityHint =
    'try `container system stop`, `container system start` and `kina start cluster`, or disconnect a VPN';
  /** False before macOS 26. */
  #networks = true;
  #turn: Promise<unknown> = Promise.resolve();
  #checked: Promise<string> | undefined;

  #run(args: readonly string[], options: ProcessOptions = {}): Promise<ProcessResult> {
    return run([program, ...args], { ...options, env: environment });
  }

  /** Runs a call that must succeed. Returns its standard output. */
  async #call(args: readonly string[], options?: ProcessOptions): Promise<string> {
    const result = await this.#run(args, options);
    if (result.code !== 0) throw appleFailure(args, result);
    return result.stdout;
  }

  /** Runs a call that changes nothing, with retries while the service is overloaded. */
  async #ask(args: readonly string[], options?: ProcessOptions): Promise<ProcessResult> {
    for (let left = attempts; ; left--) {
      const result = await this.#run(args, options);
      if (result.code === 0 || left === 1 || troubleOf(result) !== 'overloaded') return result;
      await sleep(pause);
    }
  }

  async #answer(args: readonly string[]): Promise<string> {
    const result = await this.#ask(args);
    if (result.code !== 0) throw appleFailure(args, result);
    return result.stdout;
  }

  /** Runs one at a time, in the order of the calls. A failure does not affect the next. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(work, work);
    this.#turn = mine.catch(() => {});
    return mine;
  }

  /** Every node is a virtual machine with its own kernel and cgroup v2 hierarchy. */
  async host(): Promise<EngineHost> {
    await this.#ready();
    return { rootless: false, cgroupVersion: 2, controllers: undefined };
  }

  /** Throws when the runtime is too old or its service is not running. Checked once. */
  #ready(): Promise<string> {
    this.#checked ??= this.version();
    return this.#checked;
  }

  async version(): Promise<string> {
    const asked = await this.#run(['--version'], { timeout: 20_000 });
    if (asked.code !== 0) throw appleFailure(['--version'], asked);
    const version = versionIn(asked.stdout);
    if (!version || semver.lt(version, minimumVersion)) throw tooOld(version ?? 'of an unknown version');
    // The exit code is 1 when the service is down, but the output is complete.
    const args = ['system', 'status', '--format=json'];
    const said = await this.#run(args, { timeout: 20_000 });
    if (!said.stdout.trim()) throw appleFailure(args, said);
    const service = decodeService(said.stdout);
    if (service.status !== 'running')
      throw new KinaError('provider', `the service of container ${version} is ${service.status}`, {
        hint: 'Start it: `container system start --enable-kernel-install`.',
      });
    if (service.version && semver.lt(service.version, minimumVersion)) throw tooOld(`${service.version} (its service)`);
    return version;
  }

  async nodes(cluster?: string): Promise<NodeStatus[]> {
    return decodeNodes(await this.#answer(list), cluster);
  }

  async sandboxes(service: string): Promise<NodeStatus[]> {
    return decodeNodes(await this.#answer(list), service, nodeLabels.service);
  }

  create(spec: NodeSpec, signal?: AbortSignal): Promise<void> {
    const machine = { cpus: availableParallelism(), memory: Math.floor(totalmem() / 2 ** 20) };
    const made = () => this.nodes(spec.cluster);
    return this.#create(spec, made, signal, (ports) =>
      runArguments({ ...spec, ports }, platform, machine, this.#networks ? spec.network : 'default'),
    );
  }

  createSandbox(spec: SandboxSpec, signal?: AbortSignal): Promise<void> {
    const made = () => this.sandboxes(spec.service);
    return this.#create(spec, made, signal, (ports) =>
      sandboxArguments({ ...spec, ports }, platform, this.#networks ? spec.network : 'default'),
    );
  }

  /** `made` lists the containers of kina that may have this name. */
  #create(
    spec: Pick<NodeSpec, 'name' | 'ports'>,
    made: () => Promise<NodeStatus[]>,
    signal: AbortSignal | undefined,
    argumentsFor: (ports: NonNullable<NodeSpec['ports']>) => string[],
  ): Promise<void> {
    return this.#inTurn(async () => {
      signal?.throwIfAborted();
      const args = argumentsFor(await this.#choosePorts(spec));
      for (let left = attempts; ; left--) {
        const result = await this.#run(args, { signal }).catch(async (error) => {
          await this.#removeIncomplete(spec.name, made);
          throw error;
        });
        if (result.code === 0) return;
        if (left === 1 || troubleOf(result) !== 'overloaded') throw appleFailure(args, result);
        // An incomplete node would keep the next attempt from creating it.
        await this.#removeIncomplete(spec.name, made);
      }
    });
  }

  /**
   * Removes what an interrupted creation left. The service continues the creation after its client has ended, so the node
   * may appear later. Containers that kina did not create do not have its labels.
   */
  async #removeIncomplete(name: string, made: () => Promise<NodeStatus[]>): Promise<void> {
    for (let left = attempts; left > 0; left--) {
      if ((await made()).some((node) => node.name === name)) return this.#remove([name]);
      await sleep(pause);
    }
  }

  /** The runtime does not support port 0. Picks free ports that no stopped container has published. */
  async #choosePorts({ ports = [] }: Pick<NodeSpec, 'ports'>): Promise<NonNullable<NodeSpec['ports']>> {
    const open = ports.filter(({ hostPort }) => hostPort === 0).map(({ address }) => address);
    if (open.length === 0) return ports;
    const free = await freePorts(open, decodePorts(await this.#answer(list)));
    return ports.map((port) => (port.hostPort === 0 ? { ...port, hostPort: free.shift()! } : port));
  }

  start(names: readonly string[]): Promise<void> {
    return this.#inTurn(async () => {
      for (const name of names) await this.#call(['start', name]);
    });
  }

  async stop(names: readonly string[], seconds: number): Promise<void> {
    if (names.length > 0) await this.#call(['stop', `--time=${seconds}`, ...names]);
  }

  remove(names: readonly string[]): Promise<void> {
    return this.#inTurn(() => this.#remove(names));
  }

  async #remove(names: readonly string[]): Promise<void> {
    for (const name of names) {
      const args = ['delete', '--force', name];
      for (let left = attempts; ; left--) {
        const result = await this.#run(args);
        if (result.code === 0 || troubleOf(result) === 'absent') break;
        if (left === 1 || troubleOf(result) === 'no-service') throw appleFailure(args, result);
        await sleep(pause);
      }
    }
  }

  async exec(node: string, argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    const { env = {}, ...rest } = options;
    const variables = Object.entries(env).map(([key, value]) => `--env=${key}=${value}`);
    const input = options.input === undefined ? [] : ['-i'];
    const result = await this.#run(['exec', ...input, ...variables, node, ...argv], rest);
    // Failures of `container` have this prefix, unlike those of the command in the node.
    if (result.code !== 1 || !/^Error: /m.test(result.stderr)) return result;
    const trouble = troubleOf(result);
    if (trouble === 'no-service') throw appleFailure(['exec', node], result);
    return trouble === 'no-binary' ? { ...result, code: 127 } : result;
  }

  stream(node: string, argv: readonly string[], signal?: AbortSignal) {
    return start([program, 'exec', node, ...argv], { signal, env: environment });
  }

  attach(node: string, argv: readonly string[]): Promise<number> {
    const terminal = process.stdin.isTTY && process.stdout.isTTY;
    // `container` makes its standard input non-blocking, also for other processes that share it: give it a pipe.
    const child = spawn(program, ['exec', '-i', ...(terminal ? ['-t'] : []), node, ...argv], {
      stdio: [terminal ? 'inherit' : 'pipe', 'inherit', 'inherit'],
      env: { ...processEnvironment(), ...environment },
    });
    if (child.stdin) {
      child.stdin.on('error', () => {});
      process.stdin.pipe(child.stdin);
    }
    return new Promise((done, failed) => {
      child.once('error', failed);
      child.once('exit', (code, signal) => {
        process.stdin.unpipe().pause();
        done(code ?? (signal ? 130 : 1));
      });
    });
  }

  /** The output of the first process, then the console of the kernel. */
  async logs(node: string): Promise<string> {
    const parts: string[] = [];
    for (const which of [[], ['--boot']]) {
      const whole = await this.#run(['logs', ...which, node], { timeout: 20_000 });
      // The whole log fails on a byte that is not UTF-8; the last lines work.
      const end =
        whole.code === 0 ? whole : await this.#run(['logs', ...which, '-n', '5000', node], { timeout: 20_000 });
      parts.push(end.code === 0 ? end.stdout : end.stderr);
    }
    return parts.join('');
  }

  async inspect(node: string): Promise<unknown> {
    const result = await this.#ask(['inspect', node]);
    if (result.code === 0) return (JSON.parse(result.stdout) as unknown[])[0];
    if (troubleOf(result) === 'absent') return undefined;
    throw appleFailure(['inspect', node], result);
  }

  async info(): Promise<unknown> {
    const json = async (what: string) => {
      const { stdout, stderr } = await this.#run(['system', what, '--format=json'], { timeout: 20_000 });
      return stdout.trim() ? (JSON.parse(stdout) as unknown) : lastLines(stderr, 5);
    };
    return { version: await json('version'), status: await json('status'), disk: await json('df') };
  }

  async ensureNetwork({ name, ipv6, nodes = 1 }: NetworkSpec): Promise<readonly string[]> {
    await this.#ready();
    const known = await this.#listNetworks();
    if (!known) {
      this.#networks = false;
      if (nodes === 1) return [];
      throw new KinaError('platform', `this version of macOS does not support a cluster of ${nodes} nodes`, {
        hint: oneNodeOnly,
      });
    }
    const mine = known.find(({ id }) => id === name);
    if (mine) return this.#own(mine);
    const own = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
    const taken = [...known.flatMap(subnetsOf), ...own.flatMap(({ cidr }) => cidr ?? [])];
    const candidates = subnetCandidates(name, taken).slice(0, 8);
    for (const [i, ipv4] of candidates.entries()) {
      const args = networkArguments(name, { ipv4, ipv6: ipv6 ? uniqueLocal(name) : undefined });
      const result = await this.#run(args);
      const trouble = result.code === 0 ? undefined : troubleOf(result);
      if (trouble === undefined || trouble === 'exists') break;
      if (trouble !== 'overlap' || i === candidates.length - 1) throw appleFailure(args, result);
    }
    const made = (await this.#listNetworks())?.find(({ id }) => id === name);
    if (made) return this.#own(made);
    throw new KinaError('provider', `container created the network ${name} but does not list it`);
  }

  /** All networks; undefined where the runtime does not support networks. */
  async #listNetworks(): Promise<AppleNetwork[] | undefined> {
    const args = ['network', 'list', '--format=json'];
    const result = await this.#ask(args);
    if (result.code === 0) return decodeNetworks(result.stdout);
    if (troubleOf(result) === 'no-networks') return undefined;
    throw appleFailure(args, result);
  }

  #own(network: AppleNetwork): string[] {
    if (network.configuration.labels[nodeLabels.cluster] !== undefined) return subnetsOf(network);
    throw new KinaError('conflict', `network ${network.id} exists and was not created by kina`, {
      hint: 'Choose another --name for the cluster, or delete that network.',
    });
  }

  async removeNetwork(name: string): Promise<boolean> {
    const mine = (await this.#listNetworks())?.find(({ id }) => id === name);
    if (mine?.configuration.labels[nodeLabels.cluster] === undefined) return true;
    const args = ['network', 'delete', name];
    for (let left = attempts; ; left--) {
      const result = await this.#run(args);
      const trouble = result.code === 0 ? 'absent' : troubleOf(result);
      if (trouble === 'absent') return true;
      if (trouble === 'in-use') return false;
      if (left === 1 || trouble !== 'overloaded') throw appleFailure(args, result);
      await sleep(pause);
    }
  }

  async image(reference: string): Promise<EngineImage | undefined> {
    await this.#ready();
    const args = ['image', 'inspect', reference];
    const result = await this.#ask(args);
    if (result.code === 0) return decodeImage(result.stdout, architecture);
    if (troubleOf(result) === 'absent') return undefined;
    throw appleFailure(args, result);
  }

  async pull(reference: string, wanted: string, signal?: AbortSignal): Promise<void> {
    const scheme = /^(localhost|127\.|\[::1\])[^/]*\//.test(reference) ? 'http' : 'https';
    const args = ['image', 'pull', `--platform=${wanted}`, `--scheme=${scheme}`, '--progress=plain', reference];
    await this.#call(args, { signal });
  }

  async removeImage(reference: string): Promise<void> {
    await this.#call(['image', 'delete', '--force', reference]);
  }

  /** Uses a file: the service reads it, and would first copy a pipe to one, or not find it. */
  async load(archive: Readable, signal?: AbortSignal): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), 'kina-image-'));
    try {
      const file = join(folder, 'image.tar');
      await pipeline(archive, createWriteStream(file, { mode: 0o600, highWaterMark: 1 << 20 }), { signal });
      await this.#call(['image', 'load', `--input=${file}`], { signal });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  save(references: readonly string[], signal?: AbortSignal) {
    return start([program, 'image', 'save', `--platform=${platform}`, ...references], { signal, env: environment });
  }
}
