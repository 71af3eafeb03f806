/**
 * Exec and attach over SPDY, `v4.channel.k8s.io`: one stream per channel, named by its `streamtype` header. The command
 * starts when all channels that were asked for are open, so that no output is lost.
 */
import type { Duplex } from 'node:stream';
import type { StreamingBackend } from './backend.ts';
import { type Channels, type CommandRequest, ended, serveCommand } from './command.ts';
import { ResizeEvents } from './resize.ts';
import { SpdySession } from './spdy/session.ts';
import type { SpdyStream } from './spdy/stream.ts';

/** Those that Kubernetes 1.10 and later can speak over SPDY; its clients name all that they know, the newest first. */
export const spdyCommandProtocols = ['v4.channel.k8s.io'] as const;

/** Milliseconds to open all channels, as the kubelet gives. */
const openingTime = 30_000;

/** Resolves when the connection has ended. */
export async function serveCommandOverSpdy(
  transport: Duplex,
  backend: StreamingBackend,
  request: CommandRequest,
  idleTimeout: number,
): Promise<void> {
  const expected = new Set(['error', ...(['stdin', 'stdout', 'stderr'] as const).filter((name) => request[name])]);
  if (request.tty) expected.add('resize');
  const streams = new Map<string, SpdyStream>();
  const complete = await new Promise<SpdySession | undefined>((done) => {
    const session: SpdySession = new SpdySession(transport, {
      idleTimeout,
      onStream: (stream) => {
        const type = stream.headers.get('streamtype') ?? '';
        if (!expected.has(type) || streams.has(type)) return false;
        streams.set(type, stream);
        if (streams.size === expected.size) {
          clearTimeout(late);
          done(session);
        }
        return true;
      },
    });
    const late = setTimeout(() => session.close(), openingTime);
    session.gone.addEventListener('abort', () => {
      clearTimeout(late);
      done(undefined);
    });
  });
  if (complete) await serveCommand(backend, request, channelsOf(complete, streams));
}

function channelsOf(session: SpdySession, streams: ReadonlyMap<string, SpdyStream>): Channels {
  const [stdin, stdout, stderr, resize] = ['stdin', 'stdout', 'stderr', 'resize'].map((name) => streams.get(name));
  const sizes = resize && new ResizeEvents();
  resize?.on('data', (bytes: Buffer) => sizes?.push(bytes)).once('close', () => sizes?.end());
  for (const [name, stream] of streams) if (name !== 'stdin' && name !== 'resize') stream.ignoreInput();
  return {
    streams: {
      ...(stdin ? { stdin } : {}),
      ...(stdout ? { stdout } : {}),
      ...(stderr ? { stderr } : {}),
      ...(sizes ? { resize: sizes } : {}),
    },
    gone: session.gone,
    ignoreInput: () => {
      stdin?.ignoreInput();
      sizes?.end();
    },
    finish: async (status) => {
      streams.get('error')?.write(status);
      await Promise.all([...streams.values()].map(ended));
    },
    close: () => session.close(),
  };
}
