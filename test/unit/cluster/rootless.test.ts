import { expect, test } from 'vitest';
import { checkRootless } from '../../../src/cluster/rootless.ts';
import { docker, podman } from '../../../src/provider/engines.ts';
import type { EngineHost, Provider } from '../../../src/provider/provider.ts';

const on = (host: EngineHost) => ({ name: 'podman', host: async () => host }) as unknown as Provider;
const v2 = { rootless: true, cgroupVersion: 2 } as const;

test('rootless needs cgroup v2 with what kubelet sets limits with', async () => {
  const all = ['cpuset', 'cpu', 'io', 'memory', 'pids'];
  expect(await checkRootless(on({ ...v2, controllers: all }), {}, 1000)).toBe(true);
  expect(await checkRootless(on({ ...v2, controllers: undefined }), {}, 1000)).toBe(true);
  expect(await checkRootless(on({ rootless: false, cgroupVersion: 1, controllers: all }), {}, 1000)).toBe(false);
  // what systemd delegates to users by default
  await expect(checkRootless(on({ ...v2, controllers: ['memory', 'pids'] }), {}, 1000)).rejects.toThrow(
    'not delegated: cpu',
  );
  await expect(checkRootless(on({ ...v2, cgroupVersion: 1, controllers: all }), {}, 1000)).rejects.toThrow('cgroup v1');
});

test('is read from what each engine answers', () => {
  const podmanInfo = {
    host: { cgroupVersion: 'v2', cgroupControllers: ['memory', 'pids'], security: { rootless: true } },
  };
  expect(podman.host(podmanInfo)).toEqual({ ...v2, controllers: ['memory', 'pids'] });
  const dockerInfo = { CgroupVersion: '2', SecurityOptions: ['name=seccomp,profile=default', 'name=rootless'] };
  expect(docker.host(dockerInfo)).toEqual({ ...v2, controllers: undefined });
  expect(docker.host({ CgroupVersion: '1', SecurityOptions: null })).toMatchObject({
    rootless: false,
    cgroupVersion: 1,
  });
});
