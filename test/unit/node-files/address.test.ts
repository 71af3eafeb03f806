import { expect, test } from 'vitest';
import { describeUnless } from '../../support/requirements.ts';
import { NodeRoot, noShell } from './support.ts';

/** A control plane that had an address and comes up with others. */
function controlPlane(addresses: { v4?: string; v6?: string }, files: Record<string, string> = {}): NodeRoot {
  const node = new NodeRoot({
    'kind/kubeadm.conf': 'advertiseAddress: 10.0.0.1\n',
    'etc/kubernetes/kubelet.conf': 'server: https://10.0.0.1:6443\n',
    'etc/kubernetes/pki/apiserver.crt': 'old certificate',
    'etc/kubernetes/pki/apiserver.key': 'old key',
    ...files,
  });
  const answer = (v?: string): string => (v ? `echo "${v} STREAM node1"` : 'exit 2');
  node.program('getent', `case $1 in ahostsv4) ${answer(addresses.v4)} ;; *) ${answer(addresses.v6)} ;; esac`);
  node.program('ip', '');
  node.program('kubeadm', 'echo "new $4" >"$KINA_ROOT/etc/kubernetes/pki/apiserver.crt"');
  return node;
}

describeUnless(noShell, 'changed address', () => {
  test('the first boot only remembers', async () => {
    using node = controlPlane({ v4: '10.0.0.9', v6: 'fd00::9' });
    const { calls } = await node.run('repair_addresses');
    expect([node.read('kind/old-ipv4'), node.read('kind/old-ipv6')]).toEqual(['10.0.0.9', 'fd00::9']);
    expect(node.read('kind/kubeadm.conf')).toContain('10.0.0.1');
    expect(calls.filter((call) => call.startsWith('kubeadm'))).toEqual([]);
  });

  test('the same address again changes nothing', async () => {
    using node = controlPlane({ v4: '10.0.0.1' }, { 'kind/old-ipv4': '10.0.0.1' });
    await node.run('repair_addresses');
    expect(node.read('etc/kubernetes/pki/apiserver.crt')).toBe('old certificate');
  });

  test('configuration and certificate follow', async () => {
    using node = controlPlane({ v4: '10.0.0.9' }, { 'kind/old-ipv4': '10.0.0.1' });
    const { calls } = await node.run('repair_addresses');
    expect(node.read('kind/kubeadm.conf')).toBe('advertiseAddress: 10.0.0.9\n');
    expect(node.read('etc/kubernetes/kubelet.conf')).toBe('server: https://10.0.0.9:6443\n');
    expect(calls).toContain('kubeadm init phase certs apiserver --config /kind/kubeadm.conf');
    expect(node.read('etc/kubernetes/pki/apiserver.crt')).toBe('new apiserver\n');
    expect(node.read('kind/old-ipv4')).toBe('10.0.0.9');
  });

  // Apple's runtime changes the address at every start, and kind's entrypoint dies then (apple/container #2156).
  test('without /kind/kubeadm.conf the certificate is kept', async () => {
    using node = controlPlane({ v4: '10.0.0.9' }, { 'kind/old-ipv4': '10.0.0.1' });
    const { code, messages } = await node.run('rm "$KINA_ROOT/kind/kubeadm.conf"; repair_addresses');
    expect(code).toBe(0);
    expect(messages.join()).toContain('WARN: /kind/kubeadm.conf is missing');
    expect(node.read('etc/kubernetes/pki/apiserver.crt')).toBe('old certificate');
    expect(node.read('etc/kubernetes/kubelet.conf')).toContain('10.0.0.9');
  });

  test('the old certificate comes back when kubeadm makes none', async () => {
    using node = controlPlane({ v4: '10.0.0.9' }, { 'kind/old-ipv4': '10.0.0.1' });
    node.program('kubeadm', 'exit 1');
    const { messages } = await node.run('repair_addresses');
    expect(messages.join()).toContain('WARN: kubeadm made no new apiserver certificate');
    expect(node.read('etc/kubernetes/pki/apiserver.crt')).toBe('old certificate');
    expect(node.read('etc/kubernetes/pki/apiserver.key')).toBe('old key');
  });

  test('a node without an address keeps what it knows for the next boot', async () => {
    using node = controlPlane({}, { 'kind/old-ipv4': '10.0.0.1' });
    const { messages } = await node.run('repair_addresses');
    expect(messages.join()).toContain('ERROR: this node had the address 10.0.0.1');
    expect(node.read('kind/old-ipv4')).toBe('10.0.0.1');
  });

  // /etc/hosts of Debian's habit; the runtime's own says the real one.
  test('a name that resolves to loopback is not the address', async () => {
    using node = controlPlane({ v4: '127.0.1.1' });
    node.program('ip', 'echo "2: eth0    inet 192.168.64.7/24 brd 192.168.64.255 scope global eth0"');
    await node.run('repair_addresses');
    expect(node.read('kind/old-ipv4')).toBe('192.168.64.7');
  });

  test('every file that names an address is known', async () => {
    const files = Object.fromEntries(
      [
        'etc/kubernetes/manifests/etcd.yaml',
        'etc/kubernetes/manifests/kube-apiserver.yaml',
        'etc/kubernetes/admin.conf',
        'etc/kubernetes/scheduler.conf',
        'var/lib/kubelet/kubeadm-flags.env',
        'var/lib/kubelet/config.yaml',
      ].map((path) => [path, '--x=10.0.0.1\n']),
    );
    using node = controlPlane({ v4: '10.0.0.9' }, { ...files, 'kind/old-ipv4': '10.0.0.1' });
    await node.run('repair_addresses');
    for (const path of Object.keys(files)) expect.soft(node.read(path), path).toBe('--x=10.0.0.9\n');
  });
});

describeUnless(noShell, 'replacing an address', () => {
  test.each([
    ['10.0.0.1', '10.0.0.9', 'a 10.0.0.1 b', 'a 10.0.0.9 b'],
    ['10.0.0.1', '10.0.0.9', '10.0.0.1', '10.0.0.9'],
    ['10.0.0.1', '10.0.0.9', '10.0.0.1,10.0.0.1,10.0.0.1', '10.0.0.9,10.0.0.9,10.0.0.9'],
    ['10.0.0.1', '10.0.0.9', 'https://10.0.0.1:2380', 'https://10.0.0.9:2380'],
    // A dot is any character to sed, and addresses begin like others.
    ['10.0.0.1', '10.0.0.9', '10.0.0.11 110.0.0.1 10x0.0.1', '10.0.0.11 110.0.0.1 10x0.0.1'],
    ['fd00::1', 'fd00::9', '[fd00::1]:6443 fd00::12 1:fd00::1', '[fd00::9]:6443 fd00::12 1:fd00::1'],
  ])('%s to %s in %s', async (from, to, before, after) => {
    using node = new NodeRoot({ f: `${before}\n` });
    await node.run(`replace_address ${from} ${to} "$KINA_ROOT/f"`);
    expect(node.read('f')).toBe(`${after}\n`);
  });
});
