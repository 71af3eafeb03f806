/**
 * kina as users run it: the real program, a process of its own, with a store of its own, against a synthetic upstream
 * that a test may break. The recipe is small, so that one build takes a second.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CommandOptions, type CommandResult, cleanEnvironment, projectRoot, run } from './command.ts';
import { startUpstream, type Upstream } from './upstream.ts';

/** A folder with a recipe and what it refers to. */
export const recipeFolder = join(projectRoot, 'test/integration/cli/recipe');
export const smallRecipe = join(recipeFolder, 'small.yaml');
/** What the small recipe is built for when a test does not care. */
export const version = 'v1.34.2';

export interface BenchOptions extends CommandOptions {
  /** Name of the store, below the bench's folder. Default `store`. */
  readonly store?: string;
  readonly umask?: string;
}

export interface Bench {
  /** Scratch, removed by `close`; also the working directory of kina. */
  readonly folder: string;
  readonly upstream: Upstream;
  /** Runs `kina ARGS`. */
  kina(args: readonly string[], options?: BenchOptions): Promise<CommandResult>;
  /** Runs `kina build node-image` with the small recipe, for linux/amd64 unless `args` say otherwise. */
  build(args?: readonly string[], options?: BenchOptions): Promise<CommandResult>;
  /** The same, for a source that `args` begin with. */
  buildFrom(args: readonly string[], options?: BenchOptions): Promise<CommandResult>;
  /** The same as a command line, for tests that put something around it. */
  command(args: readonly string[], options?: BenchOptions): { argv: string[]; env: NonNullable<CommandOptions['env']> };
  /** `kina ARGS`, while it runs. */
  run(args: readonly string[], options?: BenchOptions): RunningKina;
  /** `build`, while it runs. */
  start(args?: readonly string[], options?: BenchOptions): RunningKina;
  /** A fresh folder. */
  place(name: string): Promise<string>;
  close(): Promise<void>;
}

export interface RunningKina {
  readonly process: ChildProcess;
  readonly ended: Promise<CommandResult>;
  /** Waits until `condition` holds while kina runs; throws when it ended before. Looks every few milliseconds. */
  until(condition: () => boolean | Promise<boolean>): Promise<void>;
}

export async function openBench(): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), 'kina-cli-'));
  const upstream = await startUpstream();
  const environment = ({ store = 'store', env }: BenchOptions): NonNullable<CommandOptions['env']> => ({
    KINA_CACHE_DIR: join(folder, store),
    // The user who runs the tests may have a config file with mirrors.
    KINA_CONFIG: join(folder, 'no-config.yaml'),
    // What bin/kina.js starts itself anew for: 50 ms of every build.
    MALLOC_MMAP_THRESHOLD_: '4194304',
    ...env,
  });
  const argvOf = (args: readonly string[], { umask }: BenchOptions): string[] => {
    const argv = [process.execPath, join(projectRoot, 'bin/kina.js'), ...args];
    return umask ? ['sh', '-c', `umask ${umask}; exec "$@"`, 'sh', ...argv] : argv;
  };
  const buildArgs = (args: readonly string[]): string[] => {
    const platform = args.includes('--platform') ? [] : ['--platform', 'linux/amd64'];
    const recipe = args.includes('--recipe') ? [] : ['--recipe', smallRecipe];
    return ['build', 'node-image', ...args, ...recipe, ...platform, '--mirror', upstream.url];
  };
  const command: Bench['command'] = (args, options = {}) => {
    const source = args.includes('--locked') ? [] : [version];
    return { argv: argvOf(buildArgs([...source, ...args]), options), env: environment(options) };
  };
  const toTheEnd = (
    argv: readonly string[],
    env: CommandOptions['env'],
    options: BenchOptions,
  ): Promise<CommandResult> => run(argv, { cwd: folder, timeout: 120, ...options, env: env ?? {} });
  const begin = ([file = '', ...rest]: readonly string[], env: CommandOptions['env'], { cwd }: BenchOptions) =>
    watch(spawn(file, rest, { cwd: cwd ?? folder, env: cleanEnvironment(env), stdio: ['ignore', 'pipe', 'pipe'] }));
  return {
    folder,
    upstream,
    command,
    kina: (args, options = {}) => toTheEnd(argvOf(args, options), environment(options), options),
    buildFrom: (args, options = {}) => toTheEnd(argvOf(buildArgs(args), options), environment(options), options),
    build(args = [], options = {}) {
      const { argv, env } = command(args, options);
      return toTheEnd(argv, env, options);
    },
    run: (args, options = {}) => begin(argvOf(args, options), environment(options), options),
    start(args = [], options = {}) {
      const { argv, env } = command(args, options);
      return begin(argv, env, options);
    },
    async place(name) {
      const path = join(folder, name);
      await mkdir(path, { recursive: true });
      return path;
    },
    async close() {
      await upstream.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function watch(child: ChildProcess): RunningKina {
  const started = performance.now();
  const said = { stdout: '', stderr: '' };
  child.stdout?.on('data', (text) => (said.stdout += text));
  child.stderr?.on('data', (text) => (said.stderr += text));
  const ended = new Promise<CommandResult>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) =>
      resolve({
        code: code ?? 128 + (signal === 'SIGKILL' ? 9 : 2),
        ...said,
        ms: Math.round(performance.now() - started),
      }),
    );
  });
  return {
    process: child,
    ended,
    async until(condition) {
      while (!(await condition())) {
        if (child.exitCode !== null || child.signalCode !== null)
          throw new Error(`kina ended before the moment that the test waits for:\n${said.stderr}`);
        await sleep(3);
      }
    },
  };
}

/** The digest in the answer of a build, `REF@sha256:…`. Throws with the output of kina if it is missing. */
export function digestIn(result: CommandResult): string {
  const digest = /@(sha256:[0-9a-f]{64})\s*$/.exec(result.stdout)?.[1];
  if (result.code !== 0 || digest === undefined)
    throw new Error(`kina ended with ${result.code}\n${result.stdout}${result.stderr}`);
  return digest;
}
