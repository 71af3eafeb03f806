/** RPCs that run programs in containers or connect to them. */
import type { Readable } from 'node:stream';
import { AgentError } from '../agent/connection.ts';
import type { ExecSyncRequest, ExecSyncResponse } from '../api/messages.ts';
import type { Outgoing, RuntimeHandlers } from '../api/services.ts';
import { RpcError } from '../api/status.ts';
import { execProcess } from '../spec/container.ts';
import { type Containers, explained } from './containers.ts';
import type { ServiceParts } from './parts.ts';

/** Maximum output per stream: the kubelet's gRPC client accepts 16 MiB, including the rest of the message. */
const longestOutput = 16 * 2 ** 20 - 4096;

export function processCalls({ pods, containers, streaming }: ServiceParts) {
  return {
    execSync: (request, signal) => execSync(containers, request, signal),
    exec: ({ containerId, cmd, tty, stdin, stdout, stderr }) => {
      const { container } = containers.running(containerId);
      return { url: streaming.exec({ containerId: container.id, cmd, tty, stdin, stdout, stderr }) };
    },
    attach: ({ containerId, stdin, tty, stdout, stderr }) => {
      const { container } = containers.running(containerId);
      return { url: streaming.attach({ containerId: container.id, tty, stdin, stdout, stderr }) };
    },
    portForward: ({ podSandboxId }) => {
      const pod = pods.get(podSandboxId);
      if (!pod.isReady) throw new RpcError('FAILED_PRECONDITION', `the sandbox ${pod.id} is stopped`);
      return { url: streaming.portForward({ podSandboxId: pod.id }) };
    },
  } satisfies Partial<RuntimeHandlers>;
}

async function execSync(
  containers: Containers,
  { containerId, cmd, timeout }: ExecSyncRequest,
  signal: AbortSignal,
): Promise<Outgoing<ExecSyncResponse>> {
  const { pod, container } = containers.running(containerId);
  const process = execProcess(container.record.process, cmd, false);
  try {
    const limit = Math.max(0, timeout) * 1000;
    const running = await pod.agent.exec({ id: container.id, process, stdin: false, timeout: limit }, signal);
    const [stdout, stderr, { exitCode }] = await Promise.all([
      collect(running.stdout),
      collect(running.stderr),
      running.finished,
    ]);
    return { stdout, stderr, exitCode };
  } catch (error) {
    if (error instanceof AgentError && error.failure === 'timeout')
      throw new RpcError('DEADLINE_EXCEEDED', `${cmd[0]} did not end within ${timeout} s and was killed`, {
        cause: error,
      });
    throw explained(error);
  }
}

/** Collects the beginning of a stream, up to the size of a reply; reads and drops the rest. */
async function collect(stream: Readable): Promise<Uint8Array> {
  const pieces: Buffer[] = [];
  let room = Math.floor(longestOutput / 2);
  for await (const piece of stream as AsyncIterable<Buffer>) {
    if (room <= 0) continue;
    pieces.push(piece.subarray(0, room));
    room -= piece.length;
  }
  return Buffer.concat(pieces);
}
