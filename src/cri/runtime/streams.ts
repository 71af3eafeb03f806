/** Exec, attach and port forwarding: the client's streams on one side, the agent's on the other. */
import { type Readable, Writable } from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import type { AgentProcess } from '../agent/client.ts';
import { RpcError } from '../api/status.ts';
import { execProcess } from '../spec/container.ts';
import type { ProcessStreams, StreamingBackend } from '../streaming/backend.ts';
import type { Containers } from './containers.ts';
import type { Pods } from './pods.ts';

export function streamingBackend(pods: Pods, containers: Containers): StreamingBackend {
  return {
    async exec({ containerId, cmd, tty, stdin }, streams, signal) {
      const { pod, container } = containers.running(containerId);
      const process = execProcess(container.record.process, cmd, tty);
      const running = await pod.agent.exec({ id: container.id, process, stdin, timeout: 0 }, signal);
      return connect(running, streams);
    },
    async attach({ containerId, stdin }, streams, signal) {
      const { pod, container } = containers.running(containerId);
      await connect(await pod.agent.attach({ id: container.id, stdin }, signal), streams);
    },
    connect(podSandboxId, port, signal) {
      const pod = pods.get(podSandboxId);
      if (!pod.isReady) throw new RpcError('FAILED_PRECONDITION', `the sandbox ${pod.id} is stopped`);
      return pod.agent.forward(port, signal);
    },
  };
}

/** Resolves when the process has ended and its output has been taken. Unread input is not a failure. */
async function connect<Result>(running: AgentProcess<Result>, streams: ProcessStreams): Promise<Result> {
  const { stdin, stdout, stderr, resize } = streams;
  if (stdin && running.stdin) pipeline(stdin, running.stdin).catch(() => {});
  if (resize) passSizes(running, resize).catch(() => {});
  const [result] = await Promise.all([
    running.finished,
    deliver(running.stdout, stdout),
    deliver(running.stderr, stderr),
  ]);
  return result;
}

/** Writes to the client, or discards. Does not end the client's stream: its creator does. */
async function deliver(from: Readable, to: Writable | undefined): Promise<void> {
  const sink = to ?? new Writable({ write: (_piece, _encoding, done) => done() });
  from.pipe(sink, { end: false });
  await finished(from);
}

async function passSizes<Result>(
  running: AgentProcess<Result>,
  sizes: NonNullable<ProcessStreams['resize']>,
): Promise<void> {
  for await (const { width, height } of sizes) running.resize(width, height);
}
