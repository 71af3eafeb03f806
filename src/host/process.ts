/**
 * Runs other programs, either to the end with captured output or with open streams. Uses execa, which handles the
 * pitfalls (closed pipes, signals, missing programs). Nothing is printed, nothing goes through a shell, and a non-zero
 * exit is a result, not an exception: only the caller knows what it means.
 */
import type { Readable } from 'node:stream';
import { execa } from 'execa';
import { KinaError } from './errors.ts';

export interface ProcessOptions {
  /** Working folder; defaults to that of this process. */
  readonly cwd?: string | undefined;
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Standard input: text, bytes or a stream; closed immediately if absent. */
  readonly input?: string | Uint8Array | Readable | undefined;
  /** Kills the program (SIGTERM, then SIGKILL after five seconds). */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until the program is killed; the result then has `timedOut`. */
  readonly timeout?: number | undefined;
  /** Called with each chunk of output of both streams; the output is then not captured. */
  readonly onOutput?: ((text: string) => void) | undefined;
}

export interface ProcessResult {
  /** The exit code; 128 + n after signal n, as in shells. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
}

/** Output limit, 64 MiB; the rest is cut off. Captured output is meant for messages, not for files. */
const maxBuffer = 64 << 20;

let started = 0;

/** The number of programs started by this process: engine calls dominate the cost of creating a cluster. */
export function processCount(): number {
  return started;
}

/** Runs a program to its end. Throws `not-found` if it is not installed, and the signal's reason if aborted. */
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
    // A program that exits before it has read its input reports that with its exit code.
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
      throw new KinaError('not-found', `${program} is not installed or not in PATH`, {
        cause: result.cause,
      });
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
  /** Resolves when the program has ended; rejects with KinaError `provider` and the program's last lines if it failed. */
  readonly finished: Promise<void>;
}

/** Starts a program that writes a stream of bytes, e.g. an image archive. */
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
  // Readers of the stream see it end early; the reason is in `finished`, which may have no handler.
  finished.catch(() => {});
  return { stdout: child.stdout, finished };
}

/** The last non-empty lines of a program's output: the part that explains a failure. */
export function lastLines(text: string, count: number): string[] {
  return text
    .split('\n')
    .map((line) => line.trimEnd())
    .filter(Boolean)
    .slice(-count);
}
