/**
 * One connection to an agent: frames in, frames out, and its data channels as Node streams.
 *
 * Back-pressure is the socket's: frames are read one after the other, and an unread stream stops the
 * connection, its other stream included, and in the end the process behind it.
 */
import { createConnection, type Socket } from 'node:net';
import { Readable, Writable } from 'node:stream';
import { KinaError } from '../../host/errors.ts';
import { type AgentFrame, AgentFrameReader, encodeControl, encodeData, encodeFrame } from './frames.ts';
import { type AgentFailure, type AgentFailureCode, channel } from './protocol.ts';

/**
 * A failure that the agent reported, as `failure`. `unreachable` comes from this side: nothing listens, or the connection
 * ended before the reply, so it is unknown whether the call had an effect.
 */
export class AgentError extends KinaError {
  readonly failure: AgentFailureCode | 'unreachable';

  constructor(failure: AgentFailureCode | 'unreachable', message: string, options: { cause?: unknown } = {}) {
    super('provider', message, options);
    this.name = 'AgentError';
    this.failure = failure;
  }
}

export class AgentConnection {
  /** The unread frames; reading may resume where it stopped. Throws as `control` does. */
  readonly frames: AsyncGenerator<AgentFrame, never>;
  readonly #socket: Socket;
  readonly #path: string;

  /** The request is the first message; errors of the connection are reported to the reader. */
  constructor(path: string, request: object, signal: AbortSignal | undefined) {
    signal?.throwIfAborted();
    this.#path = path;
    this.#socket = createConnection(path);
    // Errors reach the reader of `frames`; between two readers they wait there, and must not end the program.
    this.#socket.on('error', () => {});
    this.frames = this.#read(signal);
    if (signal) {
      const abort = () => this.#socket.destroy();
      signal.addEventListener('abort', abort, { once: true });
      this.#socket.once('close', () => signal.removeEventListener('abort', abort));
    }
    this.#socket.write(encodeControl(request));
  }

  /** The next control frame's value. Throws AgentError for a failure and a lost connection, or the signal's reason. */
  async control(): Promise<object> {
    for (;;) {
      const { value } = await this.frames.next();
      if (value.channel === channel.control) return answerOf(value);
    }
  }

  /** Calls back when the frames have gone to the socket, or could not. */
  send(frames: readonly Buffer[], callback?: (error?: Error | null) => void): void {
    this.#socket.cork();
    frames.forEach((frame, index) => {
      this.#socket.write(frame, index === frames.length - 1 ? callback : undefined);
    });
    this.#socket.uncork();
  }

  destroy(reason?: Error): void {
    this.#socket.destroy(reason);
  }

  async *#read(signal: AbortSignal | undefined): AsyncGenerator<AgentFrame, never> {
    const reader = new AgentFrameReader();
    let cause: unknown;
    try {
      for await (const chunk of this.#socket) yield* reader.push(chunk);
    } catch (error) {
      if (error instanceof KinaError) throw error;
      cause = error;
    }
    signal?.throwIfAborted();
    throw new AgentError('unreachable', `the agent behind ${this.#path} is gone or never was there`, { cause });
  }
}

/** Throws AgentError when the reply is a failure, `integrity` when it is not a reply at all. */
export function answerOf(frame: AgentFrame): object {
  let value: unknown;
  try {
    value = JSON.parse(frame.payload.toString());
  } catch (cause) {
    throw new KinaError('integrity', 'the agent answered with something that is not JSON', { cause });
  }
  if (typeof value !== 'object' || value === null)
    throw new KinaError('integrity', `the agent answered with ${JSON.stringify(value)}`);
  if ('error' in value) {
    const { code, message } = (value as AgentFailure).error;
    throw new AgentError(code, message);
  }
  return value;
}

/** One of the channels that come from the agent. */
export class OutputStream extends Readable {
  #goOn: (() => void) | undefined;

  constructor() {
    super();
    // A lost connection ends this stream with an error, whether or not it has a listener.
    this.on('error', () => {});
  }

  /** Passes the payload on; an empty payload is the end. Resolves when there is room for more. */
  async deliver(payload: Buffer): Promise<void> {
    if (this.destroyed || this.readableEnded) return;
    if (payload.length === 0) return this.finish();
    if (!this.push(payload)) await new Promise<void>((resolve) => (this.#goOn = resolve));
  }

  /** Ends the stream; a second call has no effect. */
  finish(): void {
    if (!this.#finished) this.push(null);
    this.#finished = true;
  }
  #finished = false;

  override _read(): void {
    this.#goOn?.();
    this.#goOn = undefined;
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this._read();
    callback(error);
  }
}

/** The channel to the agent; its end, however it comes, is the end of that input only. */
export class InputStream extends Writable {
  readonly #connection: AgentConnection;
  #ended = false;

  constructor(connection: AgentConnection) {
    super();
    this.on('error', () => {});
    this.#connection = connection;
  }

  override _write(chunk: Buffer, _encoding: string, callback: (error?: Error | null) => void): void {
    if (chunk.length === 0) callback();
    else this.#connection.send(encodeData(channel.stdin, chunk), callback);
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#ended = true;
    this.#connection.send([encodeFrame(channel.stdin, Buffer.alloc(0))], callback);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (!this.#ended) this.#connection.send([encodeFrame(channel.stdin, Buffer.alloc(0))]);
    this.#ended = true;
    callback(error);
  }
}

/**
 * Moves incoming data to `outputs` (by channel) until the reply, which it returns. Outputs end with the reply, a failure
 * included; when the connection is lost they are destroyed with that error.
 */
export async function relay(
  connection: AgentConnection,
  outputs: Readonly<Record<number, OutputStream>>,
  input: InputStream | undefined,
): Promise<object> {
  try {
    for await (const frame of connection.frames) {
      if (frame.channel === channel.control) return answerOf(frame);
      await outputs[frame.channel]?.deliver(frame.payload);
    }
    throw new KinaError('internal', 'frames of an agent ended without a reply');
  } catch (error) {
    const answered = error instanceof AgentError && error.failure !== 'unreachable';
    if (!answered) for (const output of Object.values(outputs)) output.destroy(error as Error);
    throw error;
  } finally {
    for (const output of Object.values(outputs)) if (!output.destroyed) output.finish();
    connection.destroy();
    input?.destroy();
  }
}
