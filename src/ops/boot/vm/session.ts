/**
 * One run of a machine: the emulator process, its console, and commands over a virtio-serial port to the agent of
 * `guest.ts`.
 */
import { spawn } from 'node:child_process';
import { createServer, type Server, type Socket } from 'node:net';
import { KinaError } from '../../../host/errors.ts';
import { NodeEnded, type ShellResult } from '../target.ts';

export interface VmSession {
  /** Milliseconds from power-on until the agent was ready. */
  readonly bootMs: number;
  /** Throws `NodeEnded` if the machine is off. */
  exec(command: string, seconds: number): Promise<ShellResult>;
  /** All output of kernel and init so far. */
  console(): string;
  /** Waits until the machine has powered off. */
  exited(seconds: number): Promise<void>;
  /** Kills the machine. */
  stop(): Promise<void>;
}

export interface VmSessionOptions {
  /** Path of the port's socket, open before the emulator starts: a port without a peer reads as end of file. */
  readonly socket: string;
  /** Seconds until the agent must be ready. */
  readonly seconds: number;
  readonly signal?: AbortSignal | undefined;
}

/** Starts the emulator and waits for the agent. Throws `NodeEnded` with the console output if it does not start. */
export async function startSession(
  [program = '', ...args]: readonly string[],
  { socket, seconds, signal }: VmSessionOptions,
): Promise<VmSession> {
  signal?.throwIfAborted();
  const started = performance.now();
  const lines = new Lines();
  const server = await listen(socket, (peer) => lines.attach(peer));
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const kill = (): void => void child.kill('SIGKILL');
  process.once('exit', kill);
  signal?.addEventListener('abort', kill);
  let log = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      log += text;
    });
  const end = new Promise<void>((done) => {
    child.once('error', (error) => {
      log += `${error}\n`;
      done();
    });
    child.once('close', () => done());
  }).then(() => {
    process.off('exit', kill);
    signal?.removeEventListener('abort', kill);
    server.close();
    lines.fail(signal?.aborted ? signal.reason : new NodeEnded('the machine has powered off', log));
  });
  const stop = async (): Promise<void> => {
    kill();
    await end;
  };
  try {
    await lines.next('ready', seconds, () => new NodeEnded(`systemd did not start within ${seconds} s`, log));
  } catch (error) {
    await stop();
    throw error;
  }
  let requests = 0;
  let last: Promise<unknown> = Promise.resolve();
  const request = async (command: string, limit: number): Promise<ShellResult> => {
    const id = String(++requests);
    lines.send(`${id} ${limit} ${Buffer.from(command).toString('base64')}\n`);
    const silent = (): Error => new NodeEnded('the machine no longer responds', log);
    const [, code, stdout = '', stderr = ''] = (await lines.next(id, limit + 30, silent)).split(' ');
    return { code: Number(code), stdout: decode(stdout), stderr: decode(stderr) };
  };
  return {
    bootMs: Math.round(performance.now() - started),
    console: () => log,
    stop,
    exited: (limit) =>
      within(end, limit, () => new KinaError('provider', `the machine did not shut down within ${limit} s`)),
    exec: (command, limit) => {
      // One at a time, like the agent: the limit starts with the command, not with the call.
      const answer = last.then(() => request(command, limit));
      last = answer.catch(() => {});
      return answer;
    },
  };
}

const decode = (text: string): string => Buffer.from(text, 'base64').toString('utf8');

function listen(path: string, accept: (socket: Socket) => void): Promise<Server> {
  return new Promise((done, failed) => {
    const server = createServer(accept).once('error', failed);
    server.listen(path, () => done(server));
  });
}

function within<T>(promise: Promise<T>, seconds: number, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<never>((_, failed) => {
    timer = setTimeout(() => failed(late()), seconds * 1000);
  });
  return Promise.race([promise, over]).finally(() => clearTimeout(timer));
}

/** Lines from the agent; each is delivered to the waiter for its first word. */
class Lines {
  #socket: Socket | undefined;
  #rest = '';
  #failure: Error | undefined;
  readonly #came = new Map<string, string>();
  readonly #waiting = new Map<string, { done: (line: string) => void; failed: (error: Error) => void }>();

  attach(socket: Socket): void {
    this.#socket = socket.setEncoding('utf8').on('data', (text) => this.#read(String(text)));
    socket.on('error', () => {});
  }

  send(line: string): void {
    this.#socket?.write(line);
  }

  next(word: string, seconds: number, late: () => Error): Promise<string> {
    const line = this.#came.get(word);
    if (line !== undefined) return Promise.resolve(line);
    if (this.#failure) return Promise.reject(this.#failure);
    const promise = new Promise<string>((done, failed) => this.#waiting.set(word, { done, failed }));
    return within(promise, seconds, late);
  }

  fail(error: Error): void {
    this.#failure = error;
    for (const waiting of this.#waiting.values()) waiting.failed(error);
  }

  #read(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const [word = ''] = line.split(' ');
      const waiting = this.#waiting.get(word);
      this.#waiting.delete(word);
      if (waiting) waiting.done(line);
      else this.#came.set(word, line);
    }
  }
}
