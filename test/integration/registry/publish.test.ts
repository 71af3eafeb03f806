/** A push of layers that are not compressed yet: they travel while others are compressed, and one failure ends all of it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Transport } from '../../../src/host/http.ts';
import { type Reporter, silent } from '../../../src/host/progress.ts';
import type { Descriptor } from '../../../src/oci/descriptor.ts';
import { parseReference } from '../../../src/oci/reference.ts';
import { Store } from '../../../src/oci/store/store.ts';
import { publishImage } from '../../../src/ops/registry/publish.ts';
import { directNetwork } from '../../../src/session/connection.ts';
import { check } from '../../support/command.ts';
import { startProxy } from '../../support/proxy.ts';
import { startRegistry } from '../../support/registry.ts';
import { describeUnless } from '../../support/requirements.ts';
import { smallImage } from '../../support/small-image.ts';

const registry = await startRegistry();
const host = registry.skip !== undefined ? '' : registry.host;
let folder: string;
let store: Store;
let transport: Transport;

/** `KIND ends` of every task, in order. */
function recorder(): { events: string[]; reporter: Reporter } {
  const events: string[] = [];
  const task: Reporter['task'] = (kind) => ({
    progress() {},
    done: () => void events.push(`${kind} ends`),
    fail: () => void events.push(`${kind} fails`),
  });
  return { events, reporter: { ...silent, task } };
}
const publish = (image: Descriptor, ref: string, reporter: Reporter) =>
  publishImage(image, [parseReference(ref)], 'keep', { store, transport, reporter });

describeUnless(registry.skip, 'a push that compresses', () => {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kina-publish-'));
    store = await Store.open(folder);
    transport = new Transport(directNetwork({ environment: process.env, insecureRegistry: [], version: 'test' }));
  });
  afterAll(async () => {
    await transport?.close();
    await rm(folder, { recursive: true, force: true });
    if (registry.skip === undefined) await registry.stop();
  });

  test('a layer is there before the next one is compressed', async () => {
    const image = await smallImage(store, 'overlap', [100_000, 40_000_000]);
    const { events, reporter } = recorder();
    const { root, pushed } = await publish(image, `${host}/overlap:1`, reporter);
    expect(events.indexOf('push ends')).toBeLessThan(events.lastIndexOf('compress ends'));
    expect(pushed).toMatchObject({ uploaded: 5, existing: 0, manifests: 4 });
    const raw = await check([
      'sh',
      '-c',
      `skopeo inspect --raw --tls-verify=false docker://${host}/overlap:1 | sha256sum`,
    ]);
    expect(`sha256:${raw.slice(0, 64)}`).toBe(root.digest);
    expect((await publish(image, `${host}/overlap:1`, reporter)).pushed).toMatchObject({ uploaded: 0, manifests: 0 });
  });

  test('a layer that the registry refuses ends the compression of the others, and there is no tag', async () => {
    const image = await smallImage(store, 'refused', [100_000, 80_000_000]);
    const proxy = await startProxy(host, (method) => (method === 'POST' ? { status: 403 } : undefined));
    const { events, reporter } = recorder();
    await expect(publish(image, `${proxy.host}/refused:1`, reporter)).rejects.toMatchObject({ code: 'network' });
    await proxy.stop();
    expect(events).not.toContain('push ends');
    expect(events).toContain('compress fails');
    expect(proxy.requests.filter((request) => request.startsWith('PUT'))).toEqual([]);
  });
});
