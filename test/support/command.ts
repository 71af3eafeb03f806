/**
 * Running programs in tests. Nothing throws on a failing program unless it is asked to: most tests are about how a
 * program ends. `check` is for the steps that only prepare a test; its error carries everything the program said.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { execa } from 'execa';

/** The project's root: tests run from anywhere. */
export const projectRoot = resolve(import.meta.dirname, '../..');

export interface CommandOptions {
  /** Added to the environment of the test; `undefined` takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  readonly input?: string;
  /** Seconds until the program is killed. */
  readonly timeout?: number;
}

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Wall time in milliseconds. */
  readonly ms: number;
}

/** Runs a program to its end. A program killed by a signal has the shell's code, 128 + signal; by the timeout, 124. */
export async function run(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [file = '', ...args] = argv;
  const started = performance.now();
  const result = await execa(file, args, {
    reject: false,
    extendEnv: false,
    env: cleanEnvironment(options.env),
    cwd: options.cwd ?? projectRoot,
    stripFinalNewline: false,
    maxBuffer: 256 << 20,
    ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
    ...(options.timeout === undefined ? {} : { timeout: options.timeout * 1000, killSignal: 'SIGKILL' as const }),
  });
  return {
    code: result.timedOut ? 124 : (result.exitCode ?? 128 + (result.signal === 'SIGINT' ? 2 : 9)),
    stdout: String(result.stdout ?? ''),
    stderr: String(result.stderr ?? '') || (result.exitCode === undefined ? (result.shortMessage ?? '') : ''),
    ms: Math.round(performance.now() - started),
  };
}

/** Runs a program that has to succeed and returns its stdout without the final newline. */
export async function check(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const result = await run(argv, options);
  if (result.code !== 0)
    throw new Error(`${argv.join(' ')}\nended with ${result.code}\n${tail(result.stdout)}${tail(result.stderr)}`);
  return result.stdout.trimEnd();
}

/** The last lines of a long output: enough to see why, little enough to read. */
export function tail(text: string, lines = 40): string {
  const all = text.trimEnd().split('\n');
  return `${all.slice(-lines).join('\n')}\n`;
}

/**
 * What the test machine must not leak into a build: the time stamp of all files, the cache, the mirrors and proxies of
 * the user who runs the tests, their language and time zone.
 */
const leaks =
  /^(SOURCE_DATE_EPOCH|KINA_(?!E2E|TEST|DEBIAN_CHECK_VALID_UNTIL).*|XDG_.*|LC_.*|LANG|LANGUAGE|TZ|NO_COLOR|FORCE_COLOR|NODE_OPTIONS|VITEST.*|(https?|no|all)_proxy)$/i;

export function cleanEnvironment(extra: CommandOptions['env'] = {}): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(([name]) => !leaks.test(name));
  const all = Object.entries({ ...Object.fromEntries(own), ...extra });
  return Object.fromEntries(all.filter(([, value]) => value !== undefined));
}

export interface KinaResult extends CommandResult {
  /** Peak resident memory of the process in MiB; undefined where GNU time is not installed. */
  readonly peakMiB: number | undefined;
}

const gnuTime = '/usr/bin/time';

/** Runs the command line as users do, with the Node that runs the tests, in a clean environment. */
export async function kina(
  args: readonly string[],
  options: CommandOptions & { readonly umask?: string } = {},
): Promise<KinaResult> {
  const plain = [process.execPath, join(projectRoot, 'bin/kina.js'), ...args];
  const command = options.umask ? ['sh', '-c', `umask ${options.umask}; exec "$@"`, 'sh', ...plain] : plain;
  if (!existsSync(gnuTime)) return { ...(await run(command, options)), peakMiB: undefined };
  const folder = await mkdtemp(join(tmpdir(), 'kina-time-'));
  try {
    const report = join(folder, 'report');
    const result = await run([gnuTime, '-f', '%M', '-o', report, ...command], options);
    const kibibytes = Number((await readFile(report, 'utf8')).trim().split('\n').at(-1));
    return { ...result, peakMiB: Math.round(kibibytes / 1024) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
