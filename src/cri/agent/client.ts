/**
 * Calls to the agent of one sandbox, one connection each. Plain calls are a request and a reply; `exec`, `attach` and
 * `forward` become Node streams. Read all of a process's streams, or destroy unused ones: they share one
 * connection, and one that is full holds up the others.
 */
import { Duplex, type Readable, type Writable } from 'node:stream';
import { AgentConnection, AgentError, InputStream, OutputStream, relay } from './connection.ts';
import { encodeControl } from './frames.ts';
import {
  type AgentEvent,
  type AttachContainer,
  channel,
  type ExecEnd,
  type ExecProcess,
  type Operation,
  type Requests,
} from './protocol.ts';

/** Operations that are one request and one reply. */
type PlainOperation = Exclude<Operation, 'events' | 'exec' | 'attach' | 'forward'>;

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until the call fails with `timeout`; 0 or absent: never. The agent finishes what it has begun. */
  readonly timeout?: number | undefined;
}

/** A process, or a container's first process, with its streams. */
export interface AgentProcess<Result> {
  /** Ending it ends the process's input. Absent when it was not asked for. */
  readonly stdin: Writable | undefined;
  readonly stdout: Readable;
  /** Empty with a terminal. */
  readonly stderr: Readable;
  resize(width: number, height: number): void;
  /**
   * The agent's reply, after the end of all output. Rejects with AgentError: `timeout` of an exec, `unreachable` when
   * the sandbox went away or after `close`.
   */
  readonly finished: Promise<Result>;
  /** Cancels the call: kills the process of an exec, only stops listening to a container. */
  close(): void;
}

export class AgentClient {
  readonly #socketPath: string;

  /** `socketPath`: the agent's Unix socket as it appears on this machine. */
  constructor(socketPath: string) {
    this.#socketPath = socketPath;
  }

  /** Throws AgentError; the signal's reason when aborted, which does not undo anything. */
  async call<O extends PlainOperation>(
    op: O,
    request: Requests[O][0],
    options: CallOptions = {},
  ): Promise<Requests[O][1]> {
    const { signal, timeout } = options;
    const connection = new AgentConnection(this.#socketPath, { op, ...request }, signal);
    const late = () => connection.destroy(new AgentError('timeout', `no answer to ${op} in ${timeout} ms`));
    const timer = timeout ? setTimeout(late, timeout) : undefined;
    try {
      return (await connection.control()) as Requests[O][1];
    } finally {
      clearTimeout(timer);
      connection.destroy();
    }
  }

  /**
   * Calls `onEvent` for every change, in order, beginning with the list of existing containers. Returns when the signal is
   * aborted; throws AgentError `unreachable` when the sandbox is gone.
   */
  async events(onEvent: (event: AgentEvent) => void, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const connection = new AgentConnection(this.#socketPath, { op: 'events' }, signal);
    try {
      for (;;) onEvent((await connection.control()) as AgentEvent);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      connection.destroy();
    }
  }

  /** Resolves when the process runs. An abort, also a later one, is a `close`. */
  exec(request: ExecProcess, signal?: AbortSignal): Promise<AgentProcess<ExecEnd>> {
    return this.#process({ op: 'exec', ...request }, signal);
  }

  /** Resolves when the stream is attached: all later output of the container arrives. */
  attach(request: AttachContainer, signal?: AbortSignal): Promise<AgentProcess<Record<never, never>>> {
    return this.#process({ op: 'attach', ...request }, signal);
  }

  /**
   * A connection to a port of the sandbox's loopback, with half-close in both directions; destroying it closes it.
   * Throws AgentError `refused` when nothing listens there.
   */
  async forward(port: number, signal?: AbortSignal): Promise<Duplex> {
    const connection = await this.#started({ op: 'forward', port }, signal);
    const readable = new OutputStream();
    const writable = new InputStream(connection);
    const both = Duplex.from({ readable, writable });
    // After both ends, the last data may still be in transit to the port: the agent's reply closes the connection.
    both.once('close', () => {
      if (!both.readableEnded || !both.writableFinished) connection.destroy();
    });
    relay(connection, { [channel.stdout]: readable }, writable).catch(() => {});
    return both;
  }

  async #process<Result>(
    request: { op: Operation; stdin: boolean },
    signal: AbortSignal | undefined,
  ): Promise<AgentProcess<Result>> {
    const connection = await this.#started(request, signal);
    const stdout = new OutputStream();
    const stderr = new OutputStream();
    const stdin = request.stdin ? new InputStream(connection) : undefined;
    const finished = relay(connection, { [channel.stdout]: stdout, [channel.stderr]: stderr }, stdin);
    // A caller that only reads the streams need not handle the result.
    finished.catch(() => {});
    return {
      stdin,
      stdout,
      stderr,
      resize: (width, height) => connection.send([encodeControl({ resize: { width, height } })]),
      finished: finished as Promise<Result>,
      close: () => connection.destroy(),
    };
  }

  /** The connection of a started call; `started` is the first message on it. */
  async #started(request: object, signal: AbortSignal | undefined): Promise<AgentConnection> {
    const connection = new AgentConnection(this.#socketPath, request, signal);
    try {
      await connection.control();
      return connection;
    } catch (error) {
      connection.destroy();
      throw error;
    }
  }
}
