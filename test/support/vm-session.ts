/**
 * One power-on of a test machine: the emulator's process, its console, and commands over a virtio-serial port, whose other
 * end is `vm/agent.sh`.
 */
import { spawn } from 'node:child_process';
import { createServer, type Server, type Socket } from 'node:net';
import { tail } from './command.ts';

export interface VmResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Session {
  readonly bootMs: number;
  exec(command: string, seconds: number): Promise<VmResult>;
  console(): string;
  exited(seconds: number): Promise<void>;
  stop(): Promise<void>;
}

/** Starts the emulator and waits for the agent. The port's socket is ours and open before qemu starts: a port without a peer reads as end of file. */
export async function startSession(
  qemu: string,
  argv: readonly string[],
  path: string,
  seconds: number,
): Promise<Session> {
  const started = performance.now();
  const lines = new Lines();
  const server = await listen(path, (socket) => lines.attach(socket));
  const child = spawn(qemu, argv, { stdio: ['ignore', 'pipe', 'pipe'] });
  const killed = () => child.kill('SIGKILL');
  process.once('exit', killed);
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
    child.once('exit', () => done());
  }).then(() => {
    process.off('exit', killed);
    server.close();
    lines.fail(new Error(`the machine is off; its console ended with\n${tail(log)}`));
  });
  const stop = async () => {
    child.kill('SIGKILL');
    await end;
  };
  let requests = 0;
  try {
    await lines.next('ready', seconds);
  } catch (error) {
    await stop();
    throw new Error(`the machine did not come up: ${error}\n${tail(log)}`);
  }
  let last: Promise<unknown> = Promise.resolve();
  const request = async (command: string, limit: number) => {
    const id = String(++requests);
    lines.send(`${id} ${limit} ${Buffer.from(command).toString('base64')}\n`);
    const [, code, stdout = '', stderr = ''] = (await lines.next(id, limit + 30)).split(' ');
    return { code: Number(code), stdout: decode(stdout), stderr: decode(stderr) };
  };
  return {
    bootMs: Math.round(performance.now() - started),
    console: () => log,
    stop,
    exited: (limit) => within(end, limit, 'the machine did not shut down'),
    exec: (command, limit) => {
      // one at a time, as the agent works: the limit counts from the command's start, not from the call
      const answer = last.then(() => request(command, limit));
      last = answer.catch(() => {});
      return answer;
    },
  };
}

const decode = (text: string) => Buffer.from(text, 'base64').toString('utf8');

function listen(path: string, accept: (socket: Socket) => void): Promise<Server> {
  return new Promise((done, failed) => {
    const server = createServer(accept).once('error', failed);
    server.listen(path, () => done(server));
  });
}

function within<T>(promise: Promise<T>, seconds: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, failed) => {
    timer = setTimeout(() => failed(new Error(`${what} within ${seconds} s`)), seconds * 1000);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Lines from the agent, each taken by whoever waits for its first word. */
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

  next(word: string, seconds: number): Promise<string> {
    const line = this.#came.get(word);
    if (line !== undefined) return Promise.resolve(line);
    if (this.#failure) return Promise.reject(this.#failure);
    const promise = new Promise<string>((done, failed) => this.#waiting.set(word, { done, failed }));
    return within(promise, seconds, 'no answer from the machine');
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
