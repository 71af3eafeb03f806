/**
 * The CRI service as a whole:
 *
 *     kubelet ── gRPC, Unix socket ──► services ──► sandboxes ──► provider: one machine per pod
 *        │                                │  └────► images: pulled, unpacked once into a disk
 *        └── HTTP: exec, attach, … ─► streaming ──► agent in the machine ──► crun ──► containers
 *
 * Stopping the service does not stop pods: the next start finds them again.
 */
import { mkdir, rm } from 'node:fs/promises';
import { createServer, type Server as SocketServer } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { mendAuthority } from './api/authority.ts';
import { addServices, type Calls } from './api/services.ts';
import { RpcError } from './api/status.ts';
import type { ImageLibrary } from './images/library.ts';
import { imageService } from './images/rpc.ts';
import { Containers } from './runtime/containers.ts';
import { Events } from './runtime/events.ts';
import { Health } from './runtime/health.ts';
import type { CriOptions } from './runtime/options.ts';
import { Pods } from './runtime/pods.ts';
import { runtimeService } from './runtime/service.ts';
import { streamingBackend } from './runtime/streams.ts';
import { checkRoot, checkSocketFree, checkSocketPath, listenAlone } from './socket.ts';
import { startStreaming } from './streaming/server.ts';

export interface RunningService {
  /** Of exec, attach and port forwarding. */
  readonly streamingUrl: string;
  /** Ends connections; sandboxes keep running. */
  close(): Promise<void>;
}

/** Milliseconds between checks for unknown machines and machines that ended. */
const reconcileEvery = 30_000;
/** Milliseconds for calls to finish when the service stops, and then for clients to read the replies and disconnect. */
const grace = 10_000;
const farewell = 1000;

/** Requests carry pod annotations, which may have 256 KiB; replies list everything there is. */
const messageLimit = 64 << 20;

/** Serves on `socket`, an absolute path; resolves when it answers. Throws `conflict` when another service is there. */
export async function startService(options: CriOptions, images: ImageLibrary, socket: string): Promise<RunningService> {
  const { root, log } = options;
  checkRoot(root);
  await mkdir(root, { recursive: true, mode: 0o700 });
  const lock = await lockRoot(root);
  await checkSocketFree(socket);
  const pods = new Pods(options, images.disks);
  const containers = new Containers(pods, images, options.provider.capabilities.mountPropagation);
  const events = new Events(images);
  pods.onContainer = (pod, container) => {
    const told = {
      created: 'CONTAINER_CREATED_EVENT',
      running: 'CONTAINER_STARTED_EVENT',
      exited: 'CONTAINER_STOPPED_EVENT',
    };
    events.tell(told[container.state] as Parameters<Events['tell']>[0], pod, container.id);
  };
  pods.onPod = (pod, change) => {
    const told = {
      started: 'CONTAINER_STARTED_EVENT',
      stopped: 'CONTAINER_STOPPED_EVENT',
      removed: 'CONTAINER_DELETED_EVENT',
    };
    events.tell(told[change] as Parameters<Events['tell']>[0], pod, pod.id);
  };
  await options.provider.ensureNetwork({ name: options.network, ipv6: false });
  await pods.adopt();
  containers.retainAll();
  await images.sweep();
  const streaming = await startStreaming(streamingBackend(pods, containers), options.streaming);
  const health = new Health(options, pods);
  const { version } = options;
  const server = new Server({
    'grpc.max_receive_message_length': messageLimit,
    'grpc.max_send_message_length': messageLimit,
  });
  const calls = addServices(
    server,
    runtimeService({ pods, containers, images, events, streaming, health, version }),
    imageService(images),
    (method, error) => {
      if (!isRoutine(error)) log(`${method}: ${error instanceof Error ? error.message : String(error)}`);
    },
  );
  const listener = await listen(server, socket);
  const again = setInterval(() => {
    pods.reconcile().catch((error) => log(`looking after sandboxes: ${(error as Error).message}`));
  }, reconcileEvery);
  return {
    streamingUrl: streaming.url,
    async close() {
      clearInterval(again);
      events.close();
      if (!(await stopServer(server, listener, calls)))
        log(`calls that were not answered in ${grace / 1000} s are cut off`);
      await streaming.close();
      pods.close();
      await rm(socket, { force: true });
      lock.close();
    },
  };
}

/** Errors that occur in normal operation: the kubelet asks for removed pods and for unsupported features. */
const isRoutine = (error: unknown): boolean =>
  error instanceof RpcError && ['NOT_FOUND', 'UNIMPLEMENTED', 'DEADLINE_EXCEEDED'].includes(error.status);

/** Only the user may connect: the service has root access to all sandboxes. */
async function listen(server: Server, socket: string): Promise<SocketServer> {
  await mkdir(dirname(socket), { recursive: true });
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const listener = createServer((connection) => injector.injectConnection(mendAuthority(connection)));
  const before = process.umask(0o177);
  try {
    await listenAlone(listener, socket);
  } finally {
    process.umask(before);
  }
  return listener;
}

/**
 * Calls that have begun are answered first: true when all are. The service does not wait for a client that stays or does not read.
 * grpc-js does not wait for connections that it was handed: the listener does.
 */
async function stopServer(server: Server, listener: SocketServer, calls: Calls): Promise<boolean> {
  const closed = new Promise<void>((done) => listener.close(() => done()));
  server.tryShutdown(() => {});
  const answered = await inTime(calls.answered(), grace);
  if (answered) await inTime(closed, farewell);
  server.forceShutdown();
  return answered;
}

/** True when the work is done within these milliseconds. */
function inTime(work: Promise<void>, milliseconds: number): Promise<boolean> {
  return Promise.race([work.then(() => true), sleep(milliseconds, false, { ref: false })]);
}

/** A socket on which this process listens until it exits; the kernel then removes it, even after a crash. */
async function lockRoot(root: string): Promise<SocketServer> {
  const path = join(root, 'lock.sock');
  checkSocketPath(path);
  const server = createServer((connection) => connection.destroy()).unref();
  await listenAlone(server, path);
  return server;
}
