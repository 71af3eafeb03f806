/**
 * `kina cri serve` as a process of its own, with a root of its own and the test registry as mirror. It can be ended in any
 * way and started again on what it left.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { cleanEnvironment, projectRoot, tail } from '../command.ts';
import { mirroredHosts } from '../cri-images.ts';
import { sharedStore } from '../images.ts';
import { openCri } from './client.ts';

export interface ServingOptions {
  readonly provider: string;
  /** The provider's. */
  readonly env?: Readonly<Record<string, string>>;
  /** `127.0.0.1:PORT` of the test images. */
  readonly registry: string;
  /** Folders of the host that pods may mount. */
  readonly shares?: readonly string[];
  readonly network?: string;
}

export interface Serving {
  /** Absolute; removed with `remove`. */
  readonly folder: string;
  readonly root: string;
  readonly socket: string;
  /** The value of the label that its sandboxes have. */
  readonly label: string;
  /** Of the process that was started last. */
  readonly pid: number;
  readonly isRunning: boolean;
  /** Resolves when it answers; `flags` are for this time. Throws with what it said. */
  start(flags?: readonly string[]): Promise<void>;
  /** Sends a signal and waits for the end; resolves at once when it has ended. Throws when it had to be killed instead. */
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
  /** The end of what it has said so far. */
  said(): Promise<string>;
  /** Of its files; it must have ended. */
  remove(): Promise<void>;
}

/** Milliseconds in which a service has to end that was asked to. */
const patience = 60_000;

/** Starts nothing yet. */
export async function openServing(options: ServingOptions): Promise<Serving> {
  const folder = await mkdtemp(join(tmpdir(), 'kina-cri-'));
  const [socket, root, log] = [join(folder, 'cri.sock'), join(folder, 'root'), join(folder, 'log')];
  const config = join(folder, 'config.yaml');
  const hosts = Object.fromEntries(mirroredHosts.map((host) => [host, `http://${options.registry}`]));
  await writeFile(config, stringify({ hosts }));
  await mkdir(join(folder, 'share'));
  const argv = [
    join(projectRoot, 'bin/kina.js'),
    'cri',
    'serve',
    '--socket',
    `unix://${socket}`,
    '--provider',
    options.provider,
    '--root',
    root,
    ...(options.shares ?? [join(folder, 'share')]).flatMap((share) => ['--share', share]),
    ...(options.network === undefined ? [] : ['--network', options.network]),
  ];
  const env = cleanEnvironment({
    KINA_CACHE_DIR: sharedStore,
    KINA_CONFIG: config,
    KINA_DEBIAN_CHECK_VALID_UNTIL: 'false',
    ...options.env,
  });
  let child: ChildProcess | undefined;
  const isRunning = (): boolean => child !== undefined && child.exitCode === null && child.signalCode === null;
  const said = async (): Promise<string> => tail(await readFile(log, 'utf8'));
  return {
    folder,
    root,
    socket,
    said,
    // As src/cri/runtime/sandboxes.ts names a service.
    label: createHash('sha256').update(root).digest('hex').slice(0, 12),
    get pid() {
      return child!.pid!;
    },
    get isRunning() {
      return isRunning();
    },
    async start(flags = []) {
      const output = openSync(log, 'a');
      // A process group of its own: Ctrl-C is for the test, which then removes the pods through the service.
      child = spawn(process.execPath, [...argv, ...flags], { stdio: ['ignore', output, output], env, detached: true });
      closeSync(output);
      try {
        // The first start may build the sandbox image.
        await Promise.race([answers(socket), ended(child)]);
      } catch (error) {
        throw new Error(`kina cri serve did not start: ${(error as Error).message}\n${await said()}`);
      }
    },
    async end(signal) {
      if (!isRunning()) return;
      const ending = child!;
      const gone = new Promise((resolve) => ending.once('exit', resolve));
      ending.kill(signal);
      let isStuck = false;
      const insist = setTimeout(() => {
        isStuck = true;
        ending.kill('SIGKILL');
      }, patience);
      await gone;
      clearTimeout(insist);
      if (isStuck) throw new Error(`kina cri serve did not heed ${signal}\n${await said()}`);
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

async function answers(socket: string): Promise<void> {
  const client = openCri(socket);
  try {
    await client.ready(300);
    await client.call('status', {});
  } finally {
    client.close();
  }
}

function ended(child: ChildProcess): Promise<never> {
  return new Promise((_, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) => reject(new Error(`it ended with ${code ?? signal}`)));
  });
}
