/** As whom a container's processes run: the first one, and those that are started later. */
import assert from 'node:assert/strict';
import type { LinuxContainerSecurityContext } from '../../../../src/cri/api/messages.ts';
import type { Outgoing } from '../../../../src/cri/api/services.ts';
import { until } from '../pods.ts';
import { logged, pull, refused, Skip, type Spec, secured, withContainer, withPod } from './spec.ts';

/** Its user 1000 is in the image's group 50000. */
const grouped = 'gcr.io/k8s-staging-cri-tools/test-image-predefined-group:latest';

type Context = Outgoing<LinuxContainerSecurityContext>;

/** What a program that is run in the container says of itself. */
const said = (title: string, context: Context, line: string, expected: RegExp): Spec => ({
  title,
  run: (world) =>
    withContainer(world, secured(context), async (id) => assert.match(await world.pods.output(id, line), expected)),
});

const groupsPolicy = (title: string, context: Context, groups: readonly number[]): Spec => ({
  title,
  async run(world) {
    const { features } = await world.client.call('status', {});
    if (!features?.supplementalGroupsPolicy) throw new Skip('the policy of groups is not claimed');
    await pull(world, grouped);
    const security = secured({ runAsUser: { value: 1000 }, supplementalGroups: [1234], ...context });
    await withPod(world, {}, async (pod) => {
      const id = await world.pods.run(pod, 'main', 'id -G; sleep 1000', { image: { image: grouped }, ...security });
      const first = await until('the first process’s groups', 20, async () => (await logged(pod, 'main'))[0]);
      assert.equal(first, groups.join(' '));
      assert.equal(await world.pods.output(id, 'id -G'), groups.join(' '));
      const { uid, gid, supplementalGroups } = (await world.pods.status(id)).user!.linux!;
      assert.deepEqual([uid, gid, ...supplementalGroups.sort((a, b) => a - b)], [1000, 1000, ...groups]);
    });
  },
});

export const accounts: readonly Spec[] = [
  said(
    'a container has the groups that were asked for',
    { supplementalGroups: [1234, 5678] },
    'id -G',
    /\b1234 5678\b/,
  ),
  said('a container runs as a user by number', { runAsUser: { value: 1001 } }, 'id -u', /^1001$/),
  said('a container runs as a user by name', { runAsUsername: 'nobody' }, 'id -un', /^nobody$/),
  {
    title: 'a container runs as a user and a group',
    run: (world) =>
      withPod(world, {}, async (pod) => {
        const security = secured({ runAsUser: { value: 1001 }, runAsGroup: { value: 1002 } });
        await world.pods.ended(await world.pods.run(pod, 'main', 'echo $(id -u):$(id -g)', security));
        assert.deepEqual(await logged(pod, 'main'), ['1001:1002']);
      }),
  },
  {
    title: 'a container with a group and no user is refused',
    run: (world) =>
      withPod(world, {}, (pod) =>
        refused(world.pods.create(pod, 'main', ['id'], secured({ runAsGroup: { value: 1002 } }))),
      ),
  },
  groupsPolicy('groups that were asked for are added to those of the image', {}, [1000, 1234, 50_000]),
  groupsPolicy(
    'groups that were asked for are all, where the policy is strict',
    { supplementalGroupsPolicy: 'Strict' },
    [1000, 1234],
  ),
];
