/**
 * What the streaming server needs of a runtime: run a program with these streams, join a running one, connect to a port.
 * The server knows protocols and clients, the runtime knows containers; this is all they know of each other.
 */
import type { Duplex, Readable, Writable } from 'node:stream';

/** Characters. */
export interface TerminalSize {
  width: number;
  height: number;
}

/**
 * The client's ends. `stdin` ends when the client half-closes it. `stdout` and `stderr` push back when the client reads
 * slowly; they need not be ended. None of them has to be used up: what is left when the call is over is discarded.
 */
export interface ProcessStreams {
  stdin?: Readable;
  stdout?: Writable;
  stderr?: Writable;
  /** Sizes as they change; a slow reader is given the newest. Only with a terminal. */
  resize?: AsyncIterable<TerminalSize>;
}

/** What `ExecRequest` asks for. With `tty` there is no `stderr`: a terminal has one output. */
export interface ExecStream {
  containerId: string;
  cmd: string[];
  tty: boolean;
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
}
export type AttachStream = Omit<ExecStream, 'cmd'>;

/**
 * The runtime. `signal` aborts when the client is gone; what the call returns or throws after that is ignored.
 * What a call throws before reaches the client as text.
 */
export interface StreamingBackend {
  /** Resolves when the process has ended and all of its output has been written. */
  exec(request: ExecStream, streams: ProcessStreams, signal: AbortSignal): Promise<{ exitCode: number }>;
  /** Joins the container's first process; resolves when that has ended or its output has. */
  attach(request: AttachStream, streams: ProcessStreams, signal: AbortSignal): Promise<void>;
  /** A connection to 127.0.0.1:port inside the sandbox. */
  connect(podSandboxId: string, port: number, signal: AbortSignal): Promise<Duplex>;
}
