/** Filters of system calls: none, the runtime's, the test's own as a file of this host. */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { LinuxContainerSecurityContext, SecurityProfile } from '../../../../src/cri/api/messages.ts';
import type { Outgoing } from '../../../../src/cri/api/services.ts';
import { type Spec, secured, type World, withContainer } from './spec.ts';

type Context = Outgoing<LinuxContainerSecurityContext>;

/** A profile that refuses these calls, as a file of this host, while `use` needs it. */
async function withProfile(
  { folder }: World,
  names: readonly string[],
  use: (profile: Outgoing<SecurityProfile>) => Promise<void>,
): Promise<void> {
  const place = await mkdtemp(join(folder, 'seccomp-'));
  const localhostRef = join(place, 'profile.json');
  const syscalls = [{ names, action: 'SCMP_ACT_ERRNO' }];
  await writeFile(localhostRef, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls }));
  await use({ profileType: 'Localhost', localhostRef }).finally(() => rm(place, { recursive: true }));
}

/** The mode in proc(5): 0 without a filter, 2 with a program. */
const mode = (title: string, seccomp: Outgoing<SecurityProfile> | undefined, expected: string): Spec => ({
  title,
  run: (world) =>
    withContainer(world, secured(seccomp ? { seccomp } : {}), async (id) =>
      assert.equal(await world.pods.output(id, 'sed -n "s/^Seccomp:\\s*//p" /proc/self/status'), expected),
    ),
});

async function renames(world: World, context: Context, isAllowed: boolean): Promise<void> {
  const use = async (id: string): Promise<void> => {
    const { exitCode, stderr } = await world.pods.exec(id, 'hostname another && hostname | grep -x another');
    assert.equal(exitCode === 0, isAllowed, stderr);
    if (isAllowed) return;
    assert.match(stderr, /Operation not permitted/);
    // by the filter, and not because the capability is missing
    const status = await world.pods.output(id, 'cat /proc/self/status');
    assert.match(status, /^Seccomp:\s*2$/m);
    assert.ok(BigInt(`0x${/^CapEff:\s*(\w+)$/m.exec(status)?.[1]}`) & (1n << 21n), 'CAP_SYS_ADMIN');
  };
  await withContainer(world, secured(context), use, secured({ privileged: context.privileged }));
}

const sysAdmin = { addCapabilities: ['SYS_ADMIN'] };

export const seccomp: readonly Spec[] = [
  mode('an unconfined container has no filter', { profileType: 'Unconfined' }, '0'),
  {
    title: 'a profile of the host refuses what it lists',
    run: (world) =>
      withProfile(world, ['chmod', 'fchmod', 'fchmodat', 'fchmodat2'], (profile) =>
        withContainer(world, secured({ seccomp: profile }), async (id) => {
          const { exitCode, stderr } = await world.pods.exec(id, 'chmod 400 /');
          assert.notEqual(exitCode, 0);
          assert.match(stderr, /Operation not permitted/);
        }),
      ),
  },
  mode('a container with the runtime’s profile has a filter', { profileType: 'RuntimeDefault' }, '2'),
  mode('a container without a profile has no filter', undefined, '0'),
  {
    title: 'an unconfined container with SYS_ADMIN changes its host name',
    run: (world) => renames(world, { seccomp: { profileType: 'Unconfined' }, capabilities: sysAdmin }, true),
  },
  {
    title: 'a profile refuses to change the host name, SYS_ADMIN or not',
    run: (world) =>
      withProfile(world, ['sethostname'], (profile) =>
        renames(world, { seccomp: profile, capabilities: sysAdmin }, false),
      ),
  },
  {
    title: 'a profile is ignored in a privileged container',
    run: (world) =>
      withProfile(world, ['sethostname'], (profile) => renames(world, { seccomp: profile, privileged: true }, true)),
  },
];
