import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Client, credentials, Server, ServerCredentials } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { AgentClient } from '../../../src/cri/agent/client.ts';
import type { PodSandboxConfig } from '../../../src/cri/api/messages.ts';
import { addServices, definition, type ImageHandlers, type RuntimeHandlers } from '../../../src/cri/api/services.ts';
import type { ImageLibrary } from '../../../src/cri/images/library.ts';
import { Events } from '../../../src/cri/runtime/events.ts';
import { Pod } from '../../../src/cri/runtime/pod.ts';

const pod = (): Pod => {
  const config = { metadata: null, labels: {}, annotations: {}, linux: null } as unknown as PodSandboxConfig;
  const record = { id: 'pod', machine: '', createdAt: '1', config, runtimeHandler: '', shares: [], addresses: [] };
  return new Pod({ ...record, state: 'ready' }, new AgentClient('/nowhere'));
};
const noImages = {} as ImageLibrary; // the pod has no containers whose images would be asked for

test('events arrive in order, and end when the last reader leaves', async () => {
  const events = new Events(noImages);
  const gone = new AbortController();
  const seen: string[] = [];
  const following = (async () => {
    for await (const { containerId } of events.follow(gone.signal)) {
      seen.push(containerId!);
      if (containerId === 'c') gone.abort();
    }
  })();
  for (const id of ['a', 'b', 'c']) events.tell('CONTAINER_CREATED_EVENT', pod(), id);
  await following;
  expect(seen).toEqual(['a', 'b', 'c']);
});

test('a follower that reads nothing is cut off', async () => {
  const events = new Events(noImages);
  const follower = events.follow(new AbortController().signal);
  const first = follower.next();
  events.tell('CONTAINER_CREATED_EVENT', pod(), 'first');
  await first;
  for (let i = 0; i <= 10_000; i++) events.tell('CONTAINER_CREATED_EVENT', pod(), 'more');
  await expect(follower.next()).rejects.toMatchObject({ status: 'RESOURCE_EXHAUSTED' });
});

// The next service may take over at once: a follower must neither hang nor believe that nothing happened.
test('the end of the service comes after what was told before it', async () => {
  const events = new Events(noImages);
  const follower = events.follow(new AbortController().signal);
  const first = follower.next();
  events.tell('CONTAINER_CREATED_EVENT', pod(), 'first');
  events.tell('CONTAINER_STARTED_EVENT', pod(), 'second');
  events.close();
  expect([await first, await follower.next()]).toMatchObject([
    { value: { containerId: 'first' } },
    { value: { containerId: 'second' } },
  ]);
  const ending = { status: 'UNAVAILABLE', message: 'the service ends' };
  await expect(follower.next()).rejects.toMatchObject(ending);
  await expect(events.follow(new AbortController().signal).next()).rejects.toMatchObject(ending);
});

test('a follower that waits when the service ends is woken', async () => {
  const events = new Events(noImages);
  const next = events.follow(new AbortController().signal).next();
  events.close();
  await expect(next).rejects.toMatchObject({ status: 'UNAVAILABLE' });
});

test('a caller that leaves without having read all ends what was made for it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'kina-events-'));
  const socket = join(folder, 'cri.sock');
  const ended = Promise.withResolvers<void>();
  const runtime = {
    async *getContainerEvents() {
      try {
        for (;;) {
          // a caller that does not read takes one window of these and no more
          yield { containerId: 'x'.repeat(1 << 20) };
          await nextTurn();
        }
      } finally {
        ended.resolve();
      }
    },
  } as unknown as RuntimeHandlers;
  const server = new Server();
  addServices(server, runtime, {} as ImageHandlers, () => {});
  await new Promise<void>((done, failed) =>
    server.bindAsync(`unix://${socket}`, ServerCredentials.createInsecure(), (error) =>
      error ? failed(error) : done(),
    ),
  );
  const client = new Client(`unix://${socket}`, credentials.createInsecure());
  try {
    const { path, requestSerialize, responseDeserialize } = definition('RuntimeService', 'v1').GetContainerEvents!;
    const call = client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, {});
    call.on('error', () => {}); // CANCELLED
    await once(call, 'metadata');
    call.pause();
    call.cancel();
    await ended.promise;
  } finally {
    client.close();
    server.forceShutdown();
    await rm(folder, { recursive: true });
  }
});
