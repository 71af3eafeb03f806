/** What is asked for twice, or of something that is not there, is done already. */
import { busybox } from '../pods.ts';
import { type Spec, type World, withContainer, withPod } from './spec.ts';

const unknown = 'f'.repeat(64);

const done = (title: string, run: (world: World) => Promise<unknown>): Spec => ({
  title,
  run: async (world) => void (await run(world)),
});

export const idempotence: readonly Spec[] = [
  done('an unknown sandbox can be stopped', ({ client }) => client.call('stopPodSandbox', { podSandboxId: unknown })),
  done('a stopped sandbox can be stopped', (world) =>
    withPod(world, {}, async ({ id }) => {
      for (const _ of [1, 2]) await world.client.call('stopPodSandbox', { podSandboxId: id });
    }),
  ),
  done('an unknown sandbox can be removed', ({ client }) => client.call('removePodSandbox', { podSandboxId: unknown })),
  done('an unknown container can be stopped', ({ client }) =>
    client.call('stopContainer', { containerId: unknown, timeout: 0 }),
  ),
  done('a stopped container can be stopped', (world) =>
    withContainer(world, {}, async (containerId) => {
      for (const _ of [1, 2]) await world.client.call('stopContainer', { containerId, timeout: 0 });
    }),
  ),
  done('an unknown container can be removed', ({ client }) => client.call('removeContainer', { containerId: unknown })),
  done('an unknown image can be removed', ({ client }) =>
    client.call('removeImage', { image: { image: busybox.replace(/:.*/, ':does-not-exist') } }),
  ),
];
