import { join } from 'node:path';
import { expect, test } from 'vitest';
import { describeUnless } from '../../support/requirements.ts';
import { NodeRoot, nodeFiles, noShell } from './support.ts';

describeUnless(noShell, 'proxies', () => {
  const path = 'etc/systemd/system.conf.d/10-kina-proxy.conf';

  test('every unit gets the variables that are set, spelled as they are set', async () => {
    using node = new NodeRoot();
    await node.run('write_proxies', { HTTP_PROXY: 'http://proxy:3128', no_proxy: '10.0.0.0/8,.svc', HTTPS_PROXY: '' });
    expect(node.read(path)).toBe(
      '[Manager]\nDefaultEnvironment="HTTP_PROXY=http://proxy:3128" "no_proxy=10.0.0.0/8,.svc"\n',
    );
  });

  // systemd expands %-specifiers here: %40 in a password would become something else.
  test('characters that mean something to systemd are escaped', async () => {
    using node = new NodeRoot();
    await node.run('write_proxies', { HTTPS_PROXY: 'http://u:p%40\\"x@h' });
    expect(node.read(path)).toContain('"HTTPS_PROXY=http://u:p%%40\\\\\\"x@h"');
  });

  test('proxies of the last start do not stay', async () => {
    using node = new NodeRoot({ [path]: 'old' });
    await node.run('write_proxies', { HTTP_PROXY: '' });
    expect(node.has(path)).toBe(false);
  });
});

describeUnless(noShell, 'iptables backend', () => {
  interface Kernel {
    nft?: string;
    legacy?: string;
  }
  /** Rules of a backend, or undefined for a kernel without it. */
  const kernel = ({ nft, legacy }: Kernel): NodeRoot => {
    const node = new NodeRoot();
    for (const [name, rules] of Object.entries({ nft, legacy })) {
      node.program(`iptables-${name}`, rules === undefined ? 'echo "Invalid argument" >&2; exit 4' : '');
      node.program(`iptables-${name}-save`, rules === undefined ? 'exit 4' : `echo '${rules}'`);
    }
    node.program('update-alternatives');
    return node;
  };
  const chosen = async (node: NodeRoot): Promise<string[]> =>
    (await node.run('choose_iptables')).calls.filter((call) => call.startsWith('update-alternatives'));
  const set = (backend: string): string[] =>
    ['iptables', 'ip6tables'].map((tool) => `update-alternatives --set ${tool} /usr/sbin/${tool}-${backend}`);

  test('nft where the kernel takes it, both tools', async () => {
    using node = kernel({ nft: '', legacy: '' });
    expect(await chosen(node)).toEqual(set('nft'));
  });

  test('legacy where nft commands end with EINVAL', async () => {
    using node = kernel({ legacy: '' });
    expect(await chosen(node)).toEqual(set('legacy'));
  });

  test('legacy where the runtime has put its rules there', async () => {
    using node = kernel({ nft: '*nat', legacy: '-A OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT' });
    expect(await chosen(node)).toEqual(set('legacy'));
  });

  test('nft where both have rules', async () => {
    using node = kernel({ nft: '-A OUTPUT -j X', legacy: '-A OUTPUT -j X' });
    expect(await chosen(node)).toEqual(set('nft'));
  });

  test('a kernel without either is a warning that names it', async () => {
    using node = kernel({});
    const { code, messages, calls } = await node.run('choose_iptables');
    expect(code).toBe(0);
    expect(messages.join()).toMatch(/WARN: kernel \S+ has neither/);
    expect(calls.filter((call) => call.startsWith('update-alternatives'))).toEqual([]);
  });
});

describeUnless(noShell, 'identity', () => {
  test('made once per name, kept over restarts, made anew for a copy under another name', async () => {
    using node = new NodeRoot({ 'etc/machine-id': '', 'proc/cmdline': '' });
    node.program('mount');
    await node.run('set_identity');
    const id = node.read('etc/machine-id');
    const uuid = node.read('kind/product_uuid');
    expect(id).toMatch(/^[0-9a-f]{32}\n$/);
    await node.run('set_identity');
    expect([node.read('etc/machine-id'), node.read('kind/product_uuid')]).toEqual([id, uuid]);
    node.program('hostname', 'echo node2');
    await node.run('set_identity');
    expect(node.read('etc/machine-id')).not.toBe(id);
    expect(node.read('kind/product_uuid')).not.toBe(uuid);
  });

  test("covers the host's product only where there is one", async () => {
    using node = new NodeRoot({ 'sys/class/dmi/id/product_uuid': 'host' });
    node.program('mount');
    const { calls } = await node.run('set_identity', { container: 'docker' });
    expect(calls.filter((call) => call.startsWith('mount'))).toEqual([
      'mount --bind /kind/product_uuid /sys/class/dmi/id/product_uuid',
      'mount -o remount,bind,ro /sys/class/dmi/id/product_uuid',
    ]);
  });

  test.each([
    ['a kernel that starts us itself', {}, 'console=ttyAMA0'],
    ["Apple's, which claims to be a container", { container: 'docker' }, 'console=hvc0 init=/sbin/vminitd'],
  ])('a virtual machine keeps its own product: %s', async (_name, env, cmdline) => {
    using node = new NodeRoot({ 'sys/class/dmi/id/product_name': 'vm', 'proc/cmdline': cmdline });
    node.program('mount');
    expect((await node.run('set_identity; protect_sys', env)).calls).toEqual(['hostname']);
  });
});

describeUnless(noShell, 'cgroups', () => {
  test('v2 is left to systemd', async () => {
    using node = new NodeRoot({ 'sys/fs/cgroup/cgroup.controllers': 'cpu memory pids\n' });
    const { messages, calls } = await node.run('prepare_cgroups');
    expect(messages).toEqual(['INFO: detected cgroup v2']);
    expect(calls).toEqual([]);
  });

  const v1 = (systemd: number): NodeRoot => {
    const node = new NodeRoot({
      'sys/fs/cgroup/cpuset/cpuset.cpus': '0-1\n',
      'sys/fs/cgroup/cpuset/cpuset.mems': '0\n',
      'proc/self/cgroup': '3:cpuset:/\n1:cpu,cpuacct:/\n',
    });
    const at = `${node.path}/sys/fs/cgroup`;
    node.write('sys/fs/cgroup/systemd/.keep', '');
    const line = (name: string): string => `cgroup ${at}/${name} cgroup rw 0 0\n`;
    node.write('proc/self/mounts', `${line('cpuset')}${line('systemd')}${line('systemd')}${line('cpuset/kubelet')}`);
    node.write(
      'proc/self/mountinfo',
      `1 2 0:1 / ${at}/cpuset rw - cgroup cgroup rw\n3 2 0:2 / ${at}/systemd rw - cgroup cgroup rw\n` +
        `4 3 0:2 /../.. ${at}/systemd rw - cgroup cgroup rw\n5 4 0:2 /../null ${at}/systemd/release_agent rw - tmpfs x rw\n`,
    );
    for (const name of ['mount', 'umount']) node.program(name);
    node.program('systemctl', `echo "systemd ${systemd} (${systemd}.1)"`);
    return node;
  };

  test('v1 gets roots for kubelet with a filled cpuset, once per hierarchy', async () => {
    using node = v1(257);
    const { messages, calls } = await node.run('prepare_cgroups');
    expect(messages).toEqual(['INFO: detected cgroup v1']);
    expect(node.read('sys/fs/cgroup/cpuset/kubelet.slice/cpuset.cpus')).toBe('0-1\n');
    expect(node.read('sys/fs/cgroup/cpuset/kubelet/cpuset.mems')).toBe('0\n');
    expect(calls.filter((call) => call.startsWith('mount --bind'))).toHaveLength(4);
  });

  // podman 4.3 mounts it: nodes would share /init.scope, and sweep each other's groups out.
  test("the host's hierarchy over ours is taken away, and only that", async () => {
    using node = v1(257);
    const { calls } = await node.run('prepare_cgroups');
    expect(calls.filter((call) => call.startsWith('umount'))).toEqual(['umount --lazy /sys/fs/cgroup/systemd']);
  });

  test('systemd that refuses v1 gets v2 instead of ending the node', async () => {
    using node = v1(258);
    const { messages, calls } = await node.run('prepare_cgroups');
    expect(messages.join()).toContain('WARN: systemd 258');
    expect(calls.slice(-2)).toEqual([
      'umount --lazy /sys/fs/cgroup',
      'mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup',
    ]);
  });
});

describeUnless(noShell, 'entrypoint', () => {
  const entrypoint = join(nodeFiles, 'usr/local/bin/entrypoint');

  // The worst case: an empty root, no library, and every program that could fail fails.
  test('goes on to init although every duty fails', async () => {
    using node = new NodeRoot();
    for (const name of ['mount', 'umount', 'ip', 'getent', 'iptables-nft', 'iptables-legacy', 'hostname', 'sed', 'awk'])
      node.program(name, 'exit 1');
    const { stdout, code } = await node.exec(['dash', entrypoint, '/bin/echo', 'booted', 'with arguments']);
    expect(stdout).toBe('booted with arguments\n');
    expect(code).toBe(0);
  });

  test('goes on to init without its library', async () => {
    using node = new NodeRoot();
    const { stdout } = await node.exec(['dash', entrypoint, '/bin/echo', 'booted'], { KINA_LIB: '/nonexistent' });
    expect(stdout).toBe('booted\n');
  });

  test('a duty that exits does not take PID 1 with it', async () => {
    using node = new NodeRoot();
    const { stdout, messages } = await node.run(
      `KINA_LIB=/nonexistent; eval "$(sed -n '/^duty()/,/^}/p' ${entrypoint})"; broken() { exit 3; }; duty broken; echo alive`,
    );
    expect(stdout).toBe('alive\n');
    expect(messages).toEqual(['WARN: broken did not succeed; going on']);
  });
});
