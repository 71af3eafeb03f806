/**
 * Other programs: run to the end with what they wrote, or started with open streams. Through execa, which handles what
 * is easy to get wrong (closed pipes, signals, programs that are missing). Nothing is printed, nothing goes through a
 * shell, and a non-zero exit is a result, not an exception: only the caller knows what it means.
 */
import type { Readable } from 'node:stream';
import { execa } from 'execa';
import { KinaError } from './errors.ts';

export interface ProcessOptions {
  /** Working folder; this process's own when absent. */
  readonly cwd?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Standard input: text, bytes or a stream; closed at once when absent. */
  readonly input?: string | Uint8Array | Readable | undefined;
  /** Kills the program (SIGTERM, five seconds later SIGKILL). */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until it is killed; the result then has `timedOut`. */
  readonly timeout?: number | undefined;
  /** Called with each piece of output as it comes, both streams; nothing is kept then. */
  readonly onOutput?: ((text: string) => void) | undefined;
}

export interface ProcessResult {
  /** The exit code; 128 + n after signal n, as shells count. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
}

/** Output beyond this is cut off in the middle of its stream: what a program says is not a file. 64 MiB. */
const maxBuffer = 64 << 20;

let started = 0;

/** How many programs this process has started: engine calls are what creating a cluster costs. */
export function processCount(): number {
  return started;
}

/** Runs a program to its end. Throws `not-found` when it is not installed, the signal's reason when aborted. */
export async function run(argv: readonly string[], options: ProcessOptions = {}): Promise<ProcessResult> {
  const { input, signal, timeout, onOutput, env, cwd } = options;
  const [program = '', ...rest] = argv;
  signal?.throwIfAborted();
  started++;
  const child = execa(program, rest, {
    env,
    ...(cwd === undefined ? {} : { cwd }),
    reject: false,
    stripFinalNewline: false,
    forceKillAfterDelay: 5000,
    maxBuffer,
    buffer: !onOutput,
    stdin: input === undefined ? 'ignore' : 'pipe',
    ...(signal ? { cancelSignal: signal } : {}),
    ...(timeout ? { timeout } : {}),
  });
  if (onOutput)
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => onOutput(text));
  if (child.stdin && input !== undefined) {
    // A program that ends before it has read everything says so with its exit code.
    child.stdin.on('error', () => {});
    if (typeof input === 'string' || input instanceof Uint8Array) child.stdin.end(input);
    else {
      input.once('error', (error) => child.kill(error));
      input.pipe(child.stdin);
    }
  }
  const result = await child;
  signal?.throwIfAborted();
  if (result.failed && result.exitCode === undefined && result.signal === undefined && !result.timedOut) {
    if (result.code === 'ENOENT')
      throw new KinaError('not-found', `${program} is not installed, or not on the PATH`, { cause: result.cause });
    throw result;
  }
  return {
    code: result.exitCode ?? 128 + (result.signal ? (signals[result.signal] ?? 0) : 0),
    stdout: result.stdout ?? '',
    stderr: result.stderr ?? '',
    timedOut: result.timedOut,
  };
}

const signals: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGPIPE: 13, SIGTERM: 15 };

export interface RunningProcess {
  readonly stdout: Readable;
  /** Ends when the program has ended; throws KinaError `provider` with its words when it failed. */
  readonly finished: Promise<void>;
}

/** Starts a program whose output is a stream of bytes, e.g. an image archive. */
export function start(argv: readonly string[], options: ProcessOptions = {}): RunningProcess {
  const [program = '', ...rest] = argv;
  started++;
  const child = execa(program, rest, {
    env: options.env,
    reject: false,
    stdin: 'ignore',
    encoding: 'buffer',
    buffer: { stdout: false, stderr: true },
    ...(options.signal ? { cancelSignal: options.signal } : {}),
  });
  const finished = child.then((result) => {
    options.signal?.throwIfAborted();
    if (result.exitCode !== 0)
      throw new KinaError('provider', `\`${argv.join(' ')}\` failed`, {
        details: lastLines(Buffer.from(result.stderr ?? []).toString() || String(result.cause ?? ''), 10),
      });
  });
  // whoever reads the stream finds it short; the reason is in `finished`, for whoever asks
  finished.catch(() => {});
  return { stdout: child.stdout, finished };
}

/** The end of what a program said, without empty lines: what people need to see of a failure. */
export function lastLines(text: string, count: number): string[] {
  return text
    .split('\n')
    .map((line) => line.trimEnd())
    .filter(Boolean)
    .slice(-count);
}
