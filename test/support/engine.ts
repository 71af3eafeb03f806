/**
 * Nodes as containers of real engines, started as kind starts them. podman is used as it is installed; docker gets a
 * daemon of its own on a private socket, so that tests neither see nor touch what else runs on the machine. Everything
 * carries a name that no other run has, and `close` removes it all: call it in `afterAll`, it works after any failure.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CommandResult, check, run, tail } from './command.ts';
import type { Shell } from './node.ts';
import { containerLimits, hostHelper, isConstrainedHost, pathOf, podmanEnvironment } from './requirements.ts';

export type EngineName = 'podman' | 'docker';

export interface NodeOptions {
  /** Ports of the node, published on a free port of 127.0.0.1 each. */
  readonly publish?: readonly number[];
  readonly env?: Readonly<Record<string, string>>;
  /** Instead of the image's entrypoint, e.g. for one command in a container that ends. */
  readonly arguments?: readonly string[];
}

export interface ContainerNode extends Shell {
  readonly name: string;
  /** What the container's first process wrote. */
  logs(): Promise<string>;
  /** The loopback port that stands for a published one. */
  port(port: number): Promise<number>;
  stop(): Promise<void>;
  start(): Promise<void>;
  remove(): Promise<void>;
}

export interface Engine {
  readonly name: EngineName;
  /** Loads an image archive; its reference, or its id when the archive names none. */
  load(archive: string): Promise<string>;
  /** Pulls from a registry on loopback, which speaks plain HTTP. */
  pull(reference: string): Promise<void>;
  /** The image's config as the engine sees it. */
  inspect(reference: string): Promise<{ Architecture: string; Config: { Labels?: Record<string, string> } }>;
  runNode(reference: string, options?: NodeOptions): Promise<ContainerNode>;
  close(): Promise<void>;
}

/** The reference in what `load` prints: docker says `Loaded image ID:` when there is no name, podman 4 `Loaded image:`. */
const loaded = /^Loaded image(?:\(s\)| ID)?: (\S+)/m;

/** The requirements of `describeWith` for an engine's tests. */
export const engineRequirements: Readonly<Record<EngineName, readonly string[]>> = {
  podman: ['podman', 'runc', 'root'],
  docker: ['docker', 'dockerd', 'root'],
};

export async function startEngine(name: EngineName): Promise<Engine> {
  return name === 'podman' ? startPodman() : startDocker();
}

async function startPodman(): Promise<Engine> {
  const env: Record<string, string> = podmanEnvironment();
  // systemd in a container: podman has to be told, docker does nothing special for it
  return engine('podman', ['podman'], ['--systemd=always'], env, async () => {});
}

async function startDocker(): Promise<Engine> {
  const { socket, stop } = await startDockerDaemon();
  const argv = ['docker', '-H', socket];
  const network = `kina-test-${process.pid}`;
  await check([...argv, 'network', 'create', network]);
  return engine('docker', argv, ['--network', network], {}, async () => {
    await run([...argv, 'network', 'rm', network]);
    await stop();
  });
}

/** A docker daemon of the test's own; `socket` is what DOCKER_HOST takes. */
export async function startDockerDaemon(): Promise<{ socket: string; stop: () => Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'kina-docker-'));
  const socket = `unix://${join(folder, 'sock')}`;
  const dirs = Object.fromEntries(['data', 'exec'].map((one) => [one, join(folder, one)]));
  for (const path of Object.values(dirs)) await mkdir(path);
  const places = ['--data-root', dirs.data!, '--exec-root', dirs.exec!, '--pidfile', join(folder, 'pid')];
  const wrapper = ['--add-runtime', `wrap=${hostHelper('docker-runc')}`, '--default-runtime', 'wrap'];
  const helped = isConstrainedHost() ? ['--default-ulimit', `nofile=${containerLimits().nofile}`, ...wrapper] : [];
  // No default bridge: docker0 would be shared with every other daemon of the machine.
  const daemon = spawn(pathOf('dockerd')!, ['-H', socket, ...places, '--bridge', 'none', ...helped], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  for (const stream of [daemon.stdout, daemon.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
  const stop = async () => {
    await ended(daemon);
    await rm(folder, { recursive: true, force: true });
  };
  const argv = ['docker', '-H', socket];
  for (let attempt = 0; ; attempt++) {
    if ((await run([...argv, 'version'])).code === 0) break;
    if (attempt < 60 && daemon.exitCode === null) await sleep(500);
    else {
      await stop();
      throw new Error(`dockerd does not answer:\n${tail(log)}`);
    }
  }
  return { socket, stop };
}

/** Asks a daemon to stop; insists after 30 seconds. */
async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((done) => child.once('exit', done));
  child.kill('SIGTERM');
  const insist = setTimeout(() => child.kill('SIGKILL'), 30_000);
  await gone;
  clearTimeout(insist);
}

function engine(
  name: EngineName,
  argv: readonly string[],
  nodeFlags: readonly string[],
  env: Readonly<Record<string, string>>,
  stop: () => Promise<void>,
): Engine {
  const prefix = `kina-test-${process.pid}-${randomBytes(3).toString('hex')}`;
  const nodes = new Set<ContainerNode>();
  const images = new Set<string>();
  const call = (args: readonly string[], options = {}) => check([...argv, ...args], { env, ...options });
  let counter = 0;

  return {
    name,
    load: async (archive) => {
      const said = await call(['load', '-i', archive]);
      const reference = loaded.exec(said)?.[1];
      if (!reference) throw new Error(`${name} load says: ${said}`);
      images.add(reference);
      return reference;
    },
    pull: async (reference) => {
      // docker takes registries on loopback as they are
      await call(['pull', '--quiet', ...(name === 'podman' ? ['--tls-verify=false'] : []), reference]);
      images.add(reference);
    },
    inspect: async (reference) => JSON.parse(await call(['image', 'inspect', reference]))[0],
    runNode: async (reference, options = {}) => {
      const node = containerNode(`${prefix}-${++counter}`, [...argv], env);
      nodes.add(node);
      await call([
        'run',
        '--detach',
        '--name',
        node.name,
        '--hostname',
        node.name,
        '--privileged',
        '--cgroupns=private',
        '--tmpfs',
        '/tmp',
        '--tmpfs',
        '/run',
        '--volume',
        '/var',
        ...nodeFlags,
        ...(options.publish ?? []).flatMap((port) => ['--publish', `127.0.0.1::${port}`]),
        ...Object.entries(options.env ?? {}).flatMap(([key, value]) => ['--env', `${key}=${value}`]),
        reference,
        ...(options.arguments ?? []),
      ]);
      return node;
    },
    close: async () => {
      for (const node of nodes) await node.remove();
      for (const image of images) await run([...argv, 'image', 'rm', image], { env });
      await stop();
    },
  };
}

function containerNode(name: string, argv: readonly string[], env: Readonly<Record<string, string>>): ContainerNode {
  const call = (args: readonly string[]) => check([...argv, ...args], { env });
  return {
    name,
    exec: (command, { timeout = 60, input } = {}): Promise<CommandResult> =>
      run([...argv, 'exec', '--interactive', name, 'sh', '-c', command], { env, timeout, input: input ?? '' }),
    logs: async () => {
      const said = await run([...argv, 'logs', name], { env });
      return said.stdout + said.stderr;
    },
    port: async (port) => Number(/:(\d+)\s*$/m.exec(await call(['port', name, `${port}/tcp`]))?.[1]),
    stop: async () => void (await call(['stop', '--time', '30', name])),
    start: async () => void (await call(['start', name])),
    // No check: removal also has to work for a node that never came to be.
    remove: async () => void (await run([...argv, 'rm', '--force', '--volumes', name], { env })),
  };
}
