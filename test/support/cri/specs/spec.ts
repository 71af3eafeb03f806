/**
 * What a specification of the conformance suite is: a title and a function that asks a running service for something and
 * throws when the answer is wrong. It knows the interface and nothing of who implements it, so that the same list can be run
 * against kina and its peers, by vitest and by `npm run test:cri`. It brings and removes everything that it uses; the service
 * has no other user meanwhile.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type {
  ContainerConfig,
  LinuxContainerSecurityContext,
  PodSandboxConfig,
} from '../../../../src/cri/api/messages.ts';
import type { Outgoing } from '../../../../src/cri/api/services.ts';
import type { CriClient } from '../client.ts';
import { busybox, Pods, type TestPod, until } from '../pods.ts';

/** How streams are carried: exec and attach as SPDY or as WebSocket channels, forwarded ports as SPDY in either. */
export type Transport = 'SPDY' | 'WebSocket';

/** What a specification gets. */
export interface World {
  readonly client: CriClient;
  readonly pods: Pods;
  /** On this host, shared with sandboxes. */
  readonly folder: string;
  readonly transport: Transport;
}

export interface Spec {
  /** What the service does when it passes; no other has the same. */
  readonly title: string;
  /** Rejects when the service does something else, and with `Skip` when it does not claim to be able to. */
  run(world: World): Promise<void>;
}

/** The service honestly says that it has no such feature. */
export class Skip extends Error {}

/** gRPC's statuses that specifications name. */
export const grpc = { deadlineExceeded: 4, notFound: 5, unimplemented: 12 } as const;

/** For a service that answers at a socket: `folder` exists, and pods may mount what lies in it. */
export function openWorld(client: CriClient, folder: string, transport: Transport = 'SPDY'): World {
  return { client, pods: new Pods(client, folder), folder, transport };
}

/** Pulls an image; answers with its reference. */
export async function pull({ client }: World, image: string): Promise<string> {
  return (await client.call('pullImage', { image: { image } })).imageRef;
}

/** Runs a pod while `use` needs it, with the image that `Pods` names at hand. */
export async function withPod<T>(
  world: World,
  config: Outgoing<PodSandboxConfig>,
  use: (pod: TestPod) => Promise<T>,
): Promise<T> {
  const { image } = await world.client.call('imageStatus', { image: { image: busybox } });
  if (!image) await pull(world, busybox);
  const pod = await world.pods.sandbox(`spec-${randomBytes(3).toString('hex')}`, config);
  try {
    return await use(pod);
  } finally {
    // Gone already, to a service that minds: what it should answer then has specifications of its own.
    await world.pods.remove(pod).catch((error: { code?: number }) => {
      if (error.code !== grpc.notFound) throw error;
    });
  }
}

/** As `withPod`, with one container that waits; `more` is the container's. */
export function withContainer<T>(
  world: World,
  more: Outgoing<ContainerConfig>,
  use: (containerId: string, pod: TestPod) => Promise<T>,
  config: Outgoing<PodSandboxConfig> = {},
): Promise<T> {
  return withPod(world, config, async (pod) => use(await world.pods.run(pod, 'main', 'sleep 1000', more), pod));
}

/** A container's or a pod's security context, as a part of its configuration. */
export const secured = (securityContext: Outgoing<LinuxContainerSecurityContext>) => ({ linux: { securityContext } });

/** Rejects unless `call` does; the service's answer has to say something. */
export async function refused(call: Promise<unknown>): Promise<void> {
  await assert.rejects(call, (error: { code?: number; details?: string }) => {
    assert.ok(error.code !== undefined, 'refused by the service, not by this test');
    assert.ok(error.details, 'with a reason');
    return true;
  });
}

/** What a container's log has of a stream: the texts of its lines. Other lines than the interface's are an error. */
export async function logged(pod: TestPod, name: string, stream: 'stdout' | 'stderr' = 'stdout'): Promise<string[]> {
  const text = await readFile(join(pod.config.logDirectory!, `${name}.log`), 'utf8');
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  return whole
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      const [, time = '', from, , said = ''] = /^(\S+) (stdout|stderr) ([FP]) (.*)$/.exec(line) ?? [];
      assert.ok(!Number.isNaN(Date.parse(time)), `a line as kubelet reads it: ${line}`);
      return { from, said };
    })
    .filter(({ from }) => from === stream)
    .map(({ said }) => said);
}

/** The answer to a GET request, when there is one. */
export function page(url: string): Promise<string> {
  return until(`${url} answers`, 30, async () => {
    try {
      const answer = await fetch(url, { signal: AbortSignal.timeout(5000) });
      return answer.status === 200 ? await answer.text() : undefined;
    } catch {
      return undefined;
    }
  });
}

/** What one may take: critest's own waits are a minute each. */
export const specSeconds = 120;
