/** Folders of this host in a container, logs on this host, and the end of what takes too much memory. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Mount } from '../../../../src/cri/api/messages.ts';
import type { Outgoing } from '../../../../src/cri/api/services.ts';
import { check } from '../../command.ts';
import { until } from '../pods.ts';
import { logged, refused, Skip, type Spec, secured, type World, withContainer, withPod } from './spec.ts';

/** A new folder of this host with a file `flag`, while `use` needs it. */
async function withFolder<T>(world: World, use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(world.folder, 'volume-'));
  await writeFile(join(folder, 'flag'), 'from the host\n');
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Mounts on this host while `use` needs it. */
async function withMount<T>(argv: readonly string[], place: string, use: () => Promise<T>): Promise<T> {
  await check(['mount', ...argv, place]);
  try {
    return await use();
  } finally {
    await check(['umount', '--lazy', place]);
  }
}

/** As the folder's own path in the container. */
const seesFlag = (world: World, folder: string) =>
  withContainer(world, { mounts: [{ hostPath: folder, containerPath: folder }] }, async (id) => {
    assert.equal(await world.pods.output(id, `cat ${folder}/flag`), 'from the host');
    await world.pods.output(id, `echo back >${folder}/answer`);
    assert.equal(await readFile(join(folder, 'answer'), 'utf8'), 'back\n');
  });

/** What a recursively read-only mount has to be, as the interface's description of `recursive_read_only` says. */
const recursive = { readonly: true, recursiveReadOnly: true } as const;

async function withTmpfs(world: World, use: (folder: string) => Promise<void>): Promise<void> {
  const { runtimeHandlers } = await world.client.call('status', {});
  const own = runtimeHandlers.find(({ name }) => name === '');
  if (!own?.features?.recursiveReadOnlyMounts) throw new Skip('recursively read-only mounts are not claimed');
  await withFolder(world, async (folder) => {
    const inner = join(folder, 'tmpfs');
    await mkdir(inner);
    await withMount(['-t', 'tmpfs', 'none'], inner, () => use(folder));
  });
}

const refusedRecursive = (title: string, more: Outgoing<Mount>): Spec => ({
  title,
  run: (world) =>
    withTmpfs(world, (folder) =>
      withPod(world, {}, (pod) =>
        refused(
          world.pods.create(pod, 'main', ['top'], {
            mounts: [{ hostPath: folder, containerPath: '/mnt', ...recursive, ...more }],
          }),
        ),
      ),
    ),
});

const mounts: readonly Spec[] = [
  {
    title: 'a folder of the host is mounted',
    run: (world) => withFolder(world, (folder) => seesFlag(world, folder)),
  },
  {
    title: 'a folder that the host has under a link is mounted',
    run: (world) =>
      withFolder(world, async (folder) => {
        const link = `${folder}-link`;
        await symlink(folder, link);
        await seesFlag(world, link).finally(() => rm(link));
      }),
  },
  {
    title: 'a private mount passes no later mount on, in neither direction',
    run: (world) =>
      withFolder(world, async (folder) => {
        const [volume, source] = [join(folder, 'volume'), join(folder, 'source')];
        await mkdir(join(volume, 'later'), { recursive: true });
        await mkdir(join(volume, 'inner'));
        await mkdir(source);
        await writeFile(join(source, 'flag'), '');
        const privileged = secured({ privileged: true });
        await withMount(['--bind', '--make-private', volume], volume, () =>
          withContainer(
            world,
            { mounts: [{ hostPath: volume, containerPath: volume }], ...privileged },
            async (id) => {
              const [mount] = (await world.pods.status(id)).mounts;
              assert.equal(mount?.propagation, 'PROPAGATION_PRIVATE');
              assert.equal(mount.hostPath, volume);
              await withMount(['--bind', source], join(volume, 'later'), async () =>
                assert.equal(await world.pods.output(id, `ls -A ${volume}/later`), ''),
              );
              await world.pods.output(id, `mount --bind /etc ${volume}/inner && ls ${volume}/inner/passwd`);
              assert.deepEqual(await readdir(join(volume, 'inner')), []);
            },
            privileged,
          ),
        );
      }),
  },
];

const recursiveMounts: readonly Spec[] = [
  {
    title: 'a recursively read-only mount is read-only in what is mounted below it',
    run: (world) =>
      withTmpfs(world, (folder) =>
        withContainer(world, { mounts: [{ hostPath: folder, containerPath: '/mnt', ...recursive }] }, async (id) => {
          for (const path of ['/mnt/file', '/mnt/tmpfs/file']) {
            const { exitCode, stderr } = await world.pods.exec(id, `touch ${path}`);
            assert.notEqual(exitCode, 0);
            assert.match(stderr, /Read-only file system/);
          }
        }),
      ),
  },
  refusedRecursive('a recursively read-only mount that takes the host’s mounts is refused', {
    propagation: 'PROPAGATION_HOST_TO_CONTAINER',
  }),
  refusedRecursive('a recursively read-only mount that gives and takes mounts is refused', {
    propagation: 'PROPAGATION_BIDIRECTIONAL',
  }),
  refusedRecursive('a recursively read-only mount that is not read-only is refused', { readonly: false }),
];

const logs: readonly Spec[] = [
  {
    title: 'what a container says is in its log',
    run: (world) =>
      withPod(world, {}, async (pod) => {
        await world.pods.ended(await world.pods.run(pod, 'says', 'echo one; echo two >&2'));
        assert.deepEqual(await logged(pod, 'says'), ['one']);
        assert.deepEqual(await logged(pod, 'says', 'stderr'), ['two']);
      }),
  },
  {
    title: 'a log that was moved away is followed by a new one',
    run: (world) =>
      withPod(world, {}, async (pod) => {
        const containerId = await world.pods.run(pod, 'says', 'while :; do echo more; sleep 0.1; done');
        const some = () =>
          until('lines in the log', 20, async () => ((await logged(pod, 'says')).length > 0 ? true : undefined));
        await some();
        const path = join(pod.config.logDirectory!, 'says.log');
        await rename(path, `${path}.old.log`);
        await world.client.call('reopenContainerLog', { containerId });
        const old = await readFile(`${path}.old.log`, 'utf8');
        await some();
        await sleep(500);
        assert.equal(await readFile(`${path}.old.log`, 'utf8'), old);
      }),
  },
];

const outOfMemory: readonly Spec[] = [
  {
    title: 'a container that takes more memory than it may ends with 137, OOMKilled',
    run: (world) =>
      withPod(world, {}, async (pod) => {
        const limit = 15 << 20;
        const linux = { resources: { memoryLimitInBytes: limit, memorySwapLimitInBytes: limit } };
        const id = await world.pods.run(pod, 'hungry', 'dd if=/dev/zero of=/dev/null bs=20M', { linux });
        const { exitCode, reason } = await world.pods.ended(id, 60);
        assert.deepEqual({ exitCode, reason }, { exitCode: 137, reason: 'OOMKilled' });
      }),
  },
];

export const volumes: readonly Spec[] = [...mounts, ...recursiveMounts, ...logs, ...outOfMemory];
