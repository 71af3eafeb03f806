/** What a container's processes may do: to its root, to the kernel, and by programs that give more. */
import assert from 'node:assert/strict';
import type { LinuxContainerSecurityContext } from '../../../../src/cri/api/messages.ts';
import type { Outgoing } from '../../../../src/cri/api/services.ts';
import { logged, pull, type Spec, secured, type World, withContainer, withPod } from './spec.ts';

/** Its program is root's, with the bit that gives root. */
const raised = 'registry.k8s.io/e2e-test-images/nonewprivs:1.3';

type Context = Outgoing<LinuxContainerSecurityContext>;

/** Fails with a reason, or succeeds. */
async function may(world: World, id: string, line: string, reason?: RegExp): Promise<void> {
  const { exitCode, stderr } = await world.pods.exec(id, line);
  if (reason === undefined) return assert.equal(exitCode, 0, stderr);
  assert.notEqual(exitCode, 0);
  assert.match(stderr, reason);
}

const allowed = (title: string, context: Context, line: string, reason?: RegExp): Spec => ({
  title,
  run: (world) =>
    // a pod says whether a container of it is privileged
    withContainer(
      world,
      secured(context),
      (id) => may(world, id, line, reason),
      secured({ privileged: context.privileged }),
    ),
});

/** Needs CAP_NET_ADMIN. */
const networkChange = 'ip link set lo mtu 1400';
const denied = /Operation not permitted/;

/** Numbers of capabilities (linux/capability.h) that the container can have at most. */
const capabilities = (
  title: string,
  context: Context,
  fits: (has: (bit: number) => boolean, all: bigint) => boolean,
): Spec => ({
  title,
  run: (world) =>
    withContainer(world, secured({ capabilities: context.capabilities }), async (id) => {
      const all = BigInt(`0x${await world.pods.output(id, 'sed -n "s/^CapBnd:\\s*//p" /proc/self/status')}`);
      assert.ok(
        fits((bit) => (all & (1n << BigInt(bit))) !== 0n, all),
        `0x${all.toString(16)}`,
      );
    }),
});
const netAdmin = 12;
const sysAdmin = 21;

const escalation = (title: string, noNewPrivs: boolean, user: number): Spec => ({
  title,
  async run(world) {
    await pull(world, raised);
    await withPod(world, {}, async (pod) => {
      const security = secured({ noNewPrivs, runAsUser: { value: 1000 } });
      const containerId = await world.pods.create(pod, 'main', [], { image: { image: raised }, ...security });
      await world.client.call('startContainer', { containerId });
      await world.pods.ended(containerId);
      assert.deepEqual(await logged(pod, 'main'), [`Effective uid: ${user}`]);
    });
  },
});

export const privileges: readonly Spec[] = [
  allowed('a container writes to its root', { readonlyRootfs: false }, 'touch /new && test -f /new'),
  allowed('a container does not write to a read-only root', { readonlyRootfs: true }, 'touch /new', /Read-only file/),
  allowed('a privileged container changes its network', { privileged: true }, networkChange),
  allowed('a container without privileges does not change its network', { privileged: false }, networkChange, denied),
  {
    title: 'a capability that was added is there, and only in that container',
    run: (world) =>
      withPod(world, {}, async (pod) => {
        const added = secured({ capabilities: { addCapabilities: ['NET_ADMIN'] } });
        await may(world, await world.pods.run(pod, 'with', 'sleep 1000', added), networkChange);
        await may(world, await world.pods.run(pod, 'without', 'sleep 1000'), networkChange, denied);
      }),
  },
  allowed(
    'a capability that was dropped is not there',
    { capabilities: { dropCapabilities: ['NET_RAW'] } },
    'ping -c 1 127.0.0.1',
    /permission denied/i,
  ),
  capabilities(
    'all capabilities are added',
    { capabilities: { addCapabilities: ['ALL'] } },
    (has) => has(netAdmin) && has(sysAdmin),
  ),
  capabilities('all capabilities are dropped', { capabilities: { dropCapabilities: ['ALL'] } }, (_, all) => all === 0n),
  allowed('a masked path is not there to be run', { maskedPaths: ['/bin/ls'] }, 'ls', /ls: Permission denied/),
  allowed('a read-only path is not written to', { readonlyPaths: ['/tmp'] }, 'touch /tmp/new', /Read-only file system/),
  escalation('a program that gives root does not, without new privileges', true, 1000),
  escalation('a program that gives root does, with new privileges', false, 0),
];
