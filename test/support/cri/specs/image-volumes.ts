/** Images as volumes: what `mounts[].image` asks for. */
import assert from 'node:assert/strict';
import type { Mount } from '../../../../src/cri/api/messages.ts';
import type { Outgoing } from '../../../../src/cri/api/services.ts';
import type { TestPod } from '../pods.ts';
import { grpc, pull, refused, Skip, type Spec, type World, withPod } from './spec.ts';

const image = 'gcr.io/k8s-staging-cri-tools/test-image-tag:test';
const place = '/image-volume';

type Create = (mount?: Outgoing<Mount>) => Promise<string>;

/** In a pod; `create` makes a container with the image at `place`, `reference` is the image's. */
const spec = (title: string, use: (world: World, create: Create, reference: string) => Promise<void>): Spec => ({
  title,
  async run(world) {
    const reference = await pull(world, image);
    const create = (pod: TestPod, name: string, mount: Outgoing<Mount>): Promise<string> => {
      const volume = { image: reference, userSpecifiedImage: image };
      const mounts = [{ containerPath: place, readonly: true, image: volume, ...mount }];
      return world.pods.create(pod, name, ['top'], { mounts });
    };
    await withPod(world, {}, async (pod) => {
      // A runtime that does not know the field sees a mount of nothing.
      await create(pod, 'probe', {}).then(
        (containerId) => world.client.call('removeContainer', { containerId }),
        (error: { code?: number; details?: string }) => {
          if (error.code === grpc.unimplemented || /failed to (mkdir|generate)/.test(error.details ?? ''))
            throw new Skip(`image volumes are not known: ${error.details}`);
          throw error;
        },
      );
      await use(world, (mount = {}) => create(pod, 'main', mount), reference);
    });
  },
});

async function started(world: World, created: Promise<string>): Promise<string> {
  const containerId = await created;
  await world.client.call('startContainer', { containerId });
  return containerId;
}

export const imageVolumes: readonly Spec[] = [
  spec('a container’s status tells the image that is a volume', async (world, create, reference) => {
    const { mounts } = await world.pods.status(await create());
    const mount = mounts.find(({ containerPath }) => containerPath === place);
    assert.equal(mount?.image?.imageRef, reference);
  }),
  spec('an image that is a volume can be read and executed, and not written', async (world, create) => {
    const id = await started(world, create());
    assert.match(await world.pods.output(id, `${place}/bin/ls ${place}/etc`), /^passwd$/m);
    const { exitCode, stderr } = await world.pods.exec(id, `touch ${place}/new`);
    assert.notEqual(exitCode, 0);
    assert.match(stderr, /Read-only file system/);
  }),
  spec('an image as a volume to write to is refused', (_, create) => refused(create({ readonly: false }))),
  spec('a folder of an image is a volume', async (world, create) => {
    const id = await started(world, create({ imageSubPath: 'etc' }));
    assert.match(await world.pods.output(id, `ls ${place}`), /^passwd$/m);
    assert.notEqual((await world.pods.exec(id, `ls ${place}/etc`)).exitCode, 0);
  }),
  spec('a folder that an image does not have is refused as a volume', (_, create) =>
    refused(create({ imageSubPath: 'not-there' })),
  ),
];
