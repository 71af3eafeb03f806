/**
 * The agent as the first process of a machine of its own, arm64, with cgroup v2: where it will live on Apple's runtime.
 * What does not depend on that is tested in test/integration/cri.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Containers } from '../support/containers.ts';
import { describeUnless, missing, noDebianMirror } from '../support/requirements.ts';
import { bootSandbox, type SandboxMachine } from '../support/sandbox-vm.ts';

const reason = missing(['qemu-system-aarch64', 'full tier']) ?? (await noDebianMirror());

describeUnless(reason, 'a sandbox in a machine of its own', () => {
  let machine: SandboxMachine;
  let pod: Containers;

  beforeAll(async () => {
    machine = await bootSandbox();
    pod = new Containers(machine, machine.disk);
    const routes = [{ destination: '10.96.0.0/16', gateway: '10.0.2.2' }];
    const setup = { hostname: 'pod', sysctls: { 'net.ipv4.ip_unprivileged_port_start': '0' }, routes, sharePids: true };
    await machine.client.call('configure', setup);
    await machine.client.call('configure', setup);
    await pod.shell('idle', "trap 'exit 0' TERM; while :; do sleep 0.2; done");
  });
  afterAll(() => machine?.close());

  test('has all that root has, and its own address and routes', async () => {
    const hello = await machine.client.call('hello', {});
    expect(hello).toMatchObject({ cgroupVersion: 2, recursiveReadOnly: true, userNamespaces: true });
    expect(hello.capabilities).toContain('CAP_SYS_RESOURCE');
    expect(hello.controllers).toEqual(expect.arrayContaining(['cpu', 'cpuset', 'memory', 'pids']));
    expect(hello.addresses).toContain('10.0.2.15');
    expect(await pod.ask('idle', 'hostname; route -n')).toMatch(/^pod\n[\s\S]*^10\.96\.0\.0 +10\.0\.2\.2/m);
  });

  test('a time limit ends all that an exec has started, by its control group', async () => {
    const script = '(setsid sleep 4001 &); sleep 4002';
    await expect(pod.exec('idle', ['sh', '-c', script], { timeout: 1500 })).rejects.toMatchObject({
      failure: 'timeout',
    });
    expect(await pod.ask('idle', 'ps -o args')).not.toContain('sleep 400');
    expect(await pod.ask('idle', 'cat /proc/self/cgroup; cat /proc/1/cgroup')).toMatch(/^0::\/exec-\d+\n0::\/$/);
  });

  test('limits hold, can be changed, and who exceeds them is told apart', async () => {
    const resources = { memory: { limit: 20 << 20 } };
    await pod.shell('eater', 'exec tail -c 100m /dev/zero', { resources });
    expect(await pod.ended('eater', 60)).toMatchObject({ exitCode: 137, oomKilled: true });
    await machine.client.call('update', { id: 'idle', resources: { memory: { limit: 64 << 20 } } });
    expect(await pod.ask('idle', 'cat /sys/fs/cgroup/memory.max')).toBe(String(64 << 20));
    const { containers, sandbox } = await machine.client.call('stats', {});
    expect(containers.idle).toMatchObject({ processes: expect.any(Number), rssBytes: expect.any(Number) });
    // Without the kernel's threads.
    expect(sandbox.processes).toBeLessThan(20);
    expect(sandbox.memoryBytes).toBeGreaterThan(containers.idle!.memoryBytes);
  });

  test('process namespaces and mapped accounts work as elsewhere', async () => {
    await pod.shell('shared', 'sleep 5001', { pid: 'pod' });
    expect(await pod.ask('shared', 'ps -o pid,comm,args')).toMatch(/^ +1 pause/m);
    const map = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    await pod.shell('mapped', 'touch /data/mine; sleep 5002', { linux: { uidMappings: map, gidMappings: map } });
    expect(await pod.ask('mapped', 'stat -c %u:%g /data/mine /etc/passwd')).toBe('0:0\n0:0');
    await pod.stop('shared', 2000);
    await pod.remove('shared', 'mapped', 'eater');
    expect((await machine.client.call('list', {})).containers).toMatchObject([{ id: 'idle', state: 'running' }]);
  });
});
