/**
 * What a node image meets on a Mac, as far as an emulated machine can be made to have it: a kernel without nf_tables,
 * without bridge netfilter, VXLAN and IPv6 tables (the one that early releases of Apple's container installed and that
 * upgrades keep), no overlayfs, a runtime that calls itself a container although the machine is the node's own, and an
 * address that is another one at every start.
 */
import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { loadCluster } from '../../src/cluster/config/cluster.ts';
import { checkKernels } from '../../src/cluster/kernel.ts';
import { Node } from '../../src/cluster/node.ts';
import type { Provider } from '../../src/provider/provider.ts';
import { buildNode, kubernetes } from '../support/images.ts';
import { ask, bootState } from '../support/node.ts';
import { describeWith } from '../support/requirements.ts';
import { bootVm, type Vm, vmRequirements } from '../support/vm.ts';

const needs = ['full tier', ...vmRequirements('arm64'), 'release files'];
const absent = ['nf_tables', 'br_netfilter', 'vxlan', 'ip6table_filter', 'ip6table_nat', 'overlay'];
const [before, after] = ['10.0.2.15', '10.0.77.15'];

const documents = [
  { kind: 'InitConfiguration', localAPIEndpoint: { advertiseAddress: before, bindPort: 6443 } },
  { kind: 'ClusterConfiguration', kubernetesVersion: kubernetes.version },
].map((one) => JSON.stringify({ apiVersion: 'kubeadm.k8s.io/v1beta2', ...one }));

describeWith("a node on a kernel such as Apple's, without what that one lacks", needs, () => {
  let vm: Vm | undefined;
  const started = Date.now();
  const took = (what: string) => console.log(`${what} after ${Math.round((Date.now() - started) / 1000)} s`);

  beforeAll(async () => {
    const { archive } = await buildNode('arm64');
    vm = await bootVm({
      archive,
      platform: 'linux/arm64',
      memory: 4096,
      entrypoint: true,
      without: absent,
      // by which the entrypoint knows that runtime; with an initramfs the kernel itself passes it over
      commandLine: 'init=/sbin/vminitd',
    });
    took('the first command');
  });
  afterAll(() => vm?.stop());

  test('the machine lacks what it is to lack', async () => {
    const refused = await vm!.exec('iptables-nft -t nat -S');
    expect(refused.stderr).toContain('Could not fetch rule set generation id: Invalid argument');
    expect(refused.code).toBe(4);
    expect(await ask(vm!, 'ls /proc/sys/net/bridge 2>&1 || :')).toContain('No such file');
    expect(await ask(vm!, 'grep -c overlay /proc/filesystems || :')).toBe('0');
    expect((await vm!.exec('ip link add probe type vxlan id 7 dstport 0 dev eth0')).code).not.toBe(0);
  });

  test('the entrypoint has chosen what there is, and says what is slow', async () => {
    expect(await ask(vm!, 'readlink /etc/alternatives/iptables')).toBe('/usr/sbin/iptables-legacy');
    expect(await ask(vm!, 'iptables -t nat -S')).toContain('-P POSTROUTING ACCEPT');
    expect(await ask(vm!, "sed -n 's/^ *snapshotter *= *//p' /etc/containerd/config.toml")).toBe('"native"');
    expect(vm!.console()).toContain('iptables backend: legacy');
    expect(vm!.console()).toContain('overlayfs does not work on /var/lib/containerd');
  });

  test('the machine is its own: /sys is writable, its network card splits no segments', async () => {
    expect(await ask(vm!, 'findmnt -no OPTIONS /sys')).toMatch(/^rw,/);
    expect(await ask(vm!, 'tr "\\0" "\\n" </proc/1/environ | grep ^container=')).not.toBe('');
    const offload = await ask(vm!, 'ethtool -k eth0');
    expect(offload).toMatch(/tcp-segmentation-offload: off/);
    expect(offload).toMatch(/generic-segmentation-offload: off/);
  });

  test('a wish is compared with what the kernel shows; one that shows nothing is believed', async () => {
    const text = 'kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnetworking: {kubeProxyMode: nftables}\n';
    const cluster = loadCluster({ text, file: 'c.yaml', overrides: { name: 'c' }, cwd: '/', env: {} });
    const exec = async (_name: string, argv: readonly string[]) => ({
      ...(await vm!.exec(argv.map((word) => `'${word.replaceAll("'", String.raw`'\''`)}'`).join(' '))),
      timedOut: false,
    });
    const provider = { exec } as unknown as Provider;
    const status = { name: 'c-control-plane', cluster: 'c', role: 'control-plane', state: 'running' } as const;
    const nodes = [new Node(provider, { ...status, image: '', labels: {}, ports: [] })];
    // Debian's kernel has no /proc/config.gz, and its package's file does not lie in the image
    await checkKernels(cluster, nodes);
    const file = '"/boot/config-$(uname -r)"';
    await ask(vm!, `mkdir -p /boot && printf 'CONFIG_EXT4_FS=y\\nCONFIG_NFT_FIB=m\\n' >${file}`);
    await expect(checkKernels(cluster, nodes)).rejects.toMatchObject({
      details: [
        expect.stringMatching(/c-control-plane: Linux 6\.\S+ has no NF_TABLES, NFT_NUMGEN, NFT_NAT, NFT_MASQ,/),
      ],
    });
    await ask(vm!, `rm ${file}`);
  });

  test('boots to the end', async () => {
    expect(await bootState(vm!, 400)).toBe('running');
    took('running');
  });

  test('a restart with another address: files and certificates follow, before anything reads them', async () => {
    const write = `printf '%s\\n---\\n%s\\n' '${documents[0]}' '${documents[1]}' >/kind/kubeadm.conf`;
    // kubelet, without a configuration, does not start: the pods of these files are not what is tried here
    await ask(vm!, write);
    for (const phase of ['certs all', 'kubeconfig all', 'control-plane all', 'etcd local'])
      await ask(vm!, `kubeadm init phase ${phase} --config /kind/kubeadm.conf`, 300);
    const ca = await ask(vm!, 'sha256sum /etc/kubernetes/pki/ca.crt');
    expect(await ask(vm!, `grep -rl '${before}' /etc/kubernetes --include='*.conf' --include='*.yaml' | wc -l`)).toBe(
      '6',
    );
    took('a control plane on disk');

    await vm!.restart('10.0.77');
    took('on again');
    expect(await ask(vm!, 'ip -4 -o addr show eth0')).toContain(`${after}/24`);
    expect(await ask(vm!, 'cat /kind/old-ipv4')).toBe(after);
    expect(await ask(vm!, `grep -rlF '${before}' /etc/kubernetes /kind/kubeadm.conf || :`)).toBe('');
    for (const name of ['apiserver', 'etcd/server', 'etcd/peer']) {
      const certificate = new X509Certificate(await ask(vm!, `cat /etc/kubernetes/pki/${name}.crt`));
      expect([certificate.checkIP(after), certificate.checkIP(before)]).toEqual([after, undefined]);
    }
    expect(await ask(vm!, 'sha256sum /etc/kubernetes/pki/ca.crt')).toBe(ca);
    expect(await ask(vm!, 'cat /etc/kubernetes/admin.conf')).toContain(`server: https://${after}:6443`);
    // The choices of the first boot are those of every boot.
    expect(await ask(vm!, 'readlink /etc/alternatives/iptables')).toBe('/usr/sbin/iptables-legacy');
    expect(await bootState(vm!, 400)).toBe('running');
    took('running again');
  });
});
