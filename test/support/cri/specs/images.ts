/** Images: pulled, listed, told apart, removed. The names are those of `test/support/cri-images.ts`. */
import assert from 'node:assert/strict';
import type { Image } from '../../../../src/cri/api/messages.ts';
import { grpc, pull, Skip, type Spec, type World, withPod } from './spec.ts';

const staging = 'gcr.io/k8s-staging-cri-tools';
const tagged = `${staging}/test-image-tag:test`;
const sameImage = ['1', '2', '3'].map((tag) => `${staging}/test-image-tags:${tag}`);
const otherImages = ['1', '2', '3'].map((name) => `${staging}/test-image-${name}:latest`);
const twoRegistries = ['registry.k8s.io/pause:3.9', 'k8s.gcr.io/pause:3.9'];

async function status({ client }: World, image: string): Promise<Image | null> {
  return (await client.call('imageStatus', { image: { image } })).image;
}

async function remove({ client }: World, ...images: readonly string[]): Promise<void> {
  for (const image of images) await client.call('removeImage', { image: { image } });
}

/** Pulls images that are not there before, and not after. */
async function withImages<T>(world: World, names: readonly string[], use: (references: string[]) => Promise<T>) {
  await remove(world, ...names);
  try {
    const references = [];
    for (const name of names) references.push(await pull(world, name));
    return await use(references);
  } finally {
    await remove(world, ...names);
  }
}

const listedWith = async ({ client }: World, tag: string) =>
  (await client.call('listImages', {})).images.filter(({ repoTags }) => repoTags.includes(tag));

/** Pulled by this name it is there, with what `expected` says of it, and can be removed by its id. */
async function pulledAndRemoved(world: World, name: string, expected: Partial<Image>): Promise<void> {
  await withImages(world, [name], async () => {
    const image = await status(world, name);
    assert.ok(image, 'the image is there');
    assert.notEqual(image.id, '');
    assert.ok(image.size > 0);
    assert.partialDeepStrictEqual(image, expected);
    await remove(world, image.id);
    for (const gone of [name, image.id]) assert.equal(await status(world, gone), null);
  });
}

/** Names of one image: after a removal by one of them none leads to it. */
const removedByOneName = (title: string, names: readonly string[]): Spec => ({
  title,
  run: (world) =>
    withImages(world, names, async () => {
      const found = await listedWith(world, names[0]!);
      assert.equal(found.length, 1);
      assert.deepEqual([...found[0]!.repoTags].sort(), [...names].sort());
      await remove(world, names[0]!);
      for (const name of [...names, found[0]!.id]) assert.equal(await status(world, name), null, name);
    }),
});

const named: readonly Spec[] = [
  {
    title: 'an image is pulled by its tag, has that one, and is removed by its id',
    run: (world) => pulledAndRemoved(world, tagged, { repoTags: [tagged] }),
  },
  {
    title: 'a pull whose time is over says so',
    async run(world) {
      await remove(world, tagged);
      const call = world.client.call('pullImage', { image: { image: tagged } }, 0.001);
      await assert.rejects(call, { code: grpc.deadlineExceeded });
    },
  },
  {
    title: 'an image that is pulled without a tag is the latest',
    run: (world) =>
      pulledAndRemoved(world, `${staging}/test-image-latest`, { repoTags: [`${staging}/test-image-latest:latest`] }),
  },
  {
    title: 'an image that is pulled by its digest has this and no tag',
    async run(world) {
      const digests = await withImages(world, [tagged], async () => (await status(world, tagged))!.repoDigests);
      assert.equal(digests.length, 1);
      const byDigest = digests[0]!;
      assert.match(byDigest, /^gcr\.io\/k8s-staging-cri-tools\/test-image-tag@sha256:[0-9a-f]{64}$/);
      await withImages(world, [byDigest], async () => {
        const { repoTags, repoDigests } = (await status(world, byDigest))!;
        assert.deepEqual({ repoTags, repoDigests }, { repoTags: [], repoDigests: [byDigest] });
        assert.equal(await status(world, tagged), null);
      });
    },
  },
  {
    title: 'the status of an image is the same by id, by tag and by digest',
    async run(world) {
      const name = `${staging}/test-image-tag:all`;
      await withImages(world, [name], async () => {
        const image = (await status(world, name))!;
        assert.ok(image.repoDigests.length > 0);
        for (const other of [image.id, ...image.repoTags, ...image.repoDigests])
          assert.deepEqual(await status(world, other), image, other);
      });
    },
  },
  {
    title: 'an image says which user it wants, by number or by name',
    async run(world) {
      const users = {
        uid: [1002, ''],
        username: [undefined, 'www-data'],
        'uid-group': [1003, ''],
        'username-group': [undefined, 'www-data'],
      } as const;
      for (const [name, wanted] of Object.entries(users)) {
        const image = `${staging}/test-image-user-${name}`;
        await withImages(world, [image], async () => {
          const { uid, username } = (await status(world, image))!;
          assert.deepEqual([uid?.value, username], wanted, name);
        });
      }
    },
  },
  {
    title: 'three images with a tag each are three in the list',
    run: (world) =>
      withImages(world, otherImages, async (references) => {
        assert.equal(new Set(references).size, 3);
        for (const [index, name] of otherImages.entries())
          assert.partialDeepStrictEqual(await listedWith(world, name), [{ id: references[index], repoTags: [name] }]);
      }),
  },
  {
    title: 'one image with three tags is one in the list, with all of them',
    run: (world) =>
      withImages(world, sameImage, async (references) => {
        assert.equal(new Set(references).size, 1);
        const found = await listedWith(world, sameImage[0]!);
        assert.equal(found.length, 1);
        assert.equal(found[0]!.id, references[0]);
        assert.deepEqual([...found[0]!.repoTags].sort(), sameImage);
      }),
  },
  removedByOneName('an image that is removed by one tag has no tag left', sameImage),
  removedByOneName('an image that is removed by one registry’s name has no other registry’s left', twoRegistries),
];

const consistent: readonly Spec[] = [
  {
    title: 'an image that was removed is not there a moment later',
    run: (world) =>
      withImages(world, [tagged], async () => {
        await remove(world, tagged);
        assert.deepEqual(await listedWith(world, tagged), []);
        assert.equal(await status(world, tagged), null);
      }),
  },
  {
    title: 'an image that was pulled is there a moment later',
    run: (world) =>
      withImages(world, [tagged], async () => {
        assert.equal((await listedWith(world, tagged)).length, 1);
        assert.notEqual(await status(world, tagged), null);
      }),
  },
  {
    title: 'an image that five remove at once is gone for each of them',
    run: (world) =>
      withImages(world, [tagged], async () => {
        const { id } = (await status(world, tagged))!;
        const seen = await Promise.all(
          Array.from({ length: 5 }, () => remove(world, id).then(() => status(world, id))),
        );
        assert.deepEqual(seen, [null, null, null, null, null]);
      }),
  },
];

/** A container of what was pulled; answers with the ids of its image by status and by list. */
const idsOfContainer = (world: World, image: string, userSpecifiedImage: string): Promise<string[]> =>
  withPod(world, {}, async (pod) => {
    const id = await world.pods.create(pod, 'main', [], { image: { image, userSpecifiedImage } });
    await world.client.call('startContainer', { containerId: id });
    const { containers } = await world.client.call('listContainers', { filter: { id } });
    const ids = [(await world.pods.status(id)).imageId, containers[0]!.imageId];
    if (ids.includes('')) throw new Skip('ids of containers’ images are not told');
    return ids;
  });

const identified: readonly Spec[] = [
  {
    title: 'an image has one id, wherever it is told',
    run: (world) =>
      withImages(world, [tagged], async ([reference]) => {
        assert.equal((await status(world, tagged))!.id, reference);
        assert.deepEqual(await idsOfContainer(world, reference!, tagged), [reference, reference]);
      }),
  },
  {
    title: 'an image that two registries have has one id',
    run: (world) =>
      withImages(world, twoRegistries, async ([one, other]) => {
        assert.equal(other, one);
        for (const name of twoRegistries) assert.equal((await status(world, name))!.id, one);
        assert.deepEqual(await idsOfContainer(world, other!, twoRegistries[1]!), [one, one]);
      }),
  },
];

export const images: readonly Spec[] = [...named, ...consistent, ...identified];
