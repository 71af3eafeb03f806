/**
 * Exec and attach, independent of the transport: connects the client's channels with the runtime, and ends in the order that
 * clients rely on. All output first, then the status, then the end of every channel; and the connection stays open until
 * the client has closed it, because closing first throws away what a slow reader has not taken yet
 * (kubernetes/kubernetes#142376).
 */
import type { Duplex, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { AttachStream, ExecStream, ProcessStreams, StreamingBackend } from './backend.ts';
import { exitStatus, failureStatus, success } from './status.ts';

/** What a client asks for, with the token's kind. */
export type CommandRequest = ({ readonly kind: 'exec' } & ExecStream) | ({ readonly kind: 'attach' } & AttachStream);

/** The client's side of one command. */
export interface Channels {
  readonly streams: ProcessStreams;
  /** Aborts when the client is gone. */
  readonly gone: AbortSignal;
  /** Discards what the client still sends. */
  ignoreInput(): void;
  /** Sends the status and ends every channel; resolves when all of it is on its way. */
  finish(status: string): Promise<void>;
  /** Ends the connection, if the client does not in time. */
  close(): void;
}

/** Milliseconds that a client has to read the rest, as in the newest kubelet: 15 minutes. */
export const patience = 15 * 60_000;

/** Runs the command; resolves when the client has closed the connection. Never rejects. */
export async function serveCommand(
  backend: StreamingBackend,
  request: CommandRequest,
  channels: Channels,
): Promise<void> {
  const status = await run(backend, request, channels);
  channels.ignoreInput();
  if (channels.gone.aborted) return;
  const { stdout, stderr } = channels.streams;
  await Promise.all([stdout, stderr].map((output) => output && flushed(output)));
  await channels.finish(status);
  const late = setTimeout(() => channels.close(), patience);
  late.unref();
  await aborted(channels.gone);
  clearTimeout(late);
}

async function run(backend: StreamingBackend, request: CommandRequest, channels: Channels): Promise<string> {
  try {
    const { kind, ...wanted } = request;
    if (kind === 'attach') {
      await backend.attach(wanted, channels.streams, channels.gone);
      return success;
    }
    return exitStatus((await backend.exec(request, channels.streams, channels.gone)).exitCode);
  } catch (error) {
    return failureStatus(error);
  }
}

/** Resolves when all that was written is on its way, or never will be. */
async function flushed(output: Writable): Promise<void> {
  if (output.destroyed || output.writableFinished) return;
  if (output.writableEnded) await finished(output, { readable: false }).catch(() => {});
  else await new Promise<void>((done) => void output.write(Buffer.alloc(0), () => done()));
}

/** Half-closes; resolves when the end of the stream was sent. */
export async function ended(stream: Duplex): Promise<void> {
  if (stream.destroyed) return;
  stream.end();
  await finished(stream, { readable: false }).catch(() => {});
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) done();
    else signal.addEventListener('abort', () => done(), { once: true });
  });
}
