/** A wish that a kernel cannot meet is said before kubeadm fails on it with other words. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Cluster } from '../../../src/cluster/config/model.ts';
import { checkKernels } from '../../../src/cluster/kernel.ts';
import { Node } from '../../../src/cluster/node.ts';
import type { NodeStatus, Provider } from '../../../src/provider/provider.ts';

let folder: string;
let asked: number;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'kina-kernel-'));
  asked = 0;
});
afterEach(() => rmSync(folder, { recursive: true }));

const on = (name: string, config: string): Node => {
  const exec = async () => {
    asked++;
    return { code: 0, stdout: `6.18.15\n${config}`, stderr: '', timedOut: false };
  };
  const status: NodeStatus = {
    name,
    cluster: 'c',
    role: 'worker',
    state: 'running',
    image: '',
    labels: {},
    ports: [],
  };
  return new Node({ exec } as unknown as Provider, status);
};
const has = (...options: string[]) => options.map((option) => `CONFIG_${option}=y`).join('\n');
const cluster = (networking: object) =>
  ({ networking: { cni: 'default', kubeProxyMode: 'iptables', ...networking } }) as unknown as Cluster;

/** As the kernel that Apple's container installs: IPVS with its schedulers, nf_tables, and no DUMMY. */
const apples = has('IP_VS', 'IP_VS_RR', 'IP_VS_NFCT', 'NF_TABLES', 'NFT_FIB', 'NFT_NUMGEN', 'NFT_NAT', 'NFT_MASQ');

test('the defaults ask nobody', async () => {
  await checkKernels(cluster({}), [on('a', '')]);
  expect(asked).toBe(0);
});

describe('a requirement', () => {
  test('that a node does not meet is an error with the missing options and another way', async () => {
    const nodes = [on('a', `${apples}\nCONFIG_DUMMY=m`), on('b', apples)];
    await expect(checkKernels(cluster({ kubeProxyMode: 'ipvs' }), nodes)).rejects.toMatchObject({
      code: 'cluster',
      details: ['b: Linux 6.18.15 lacks DUMMY, which kubeProxyMode: ipvs needs'],
      hint: expect.stringContaining('kubeProxyMode: iptables works'),
    });
  });

  test('that can be met, or of a kernel that does not show what it has, is not in the way', async () => {
    await checkKernels(cluster({ kubeProxyMode: 'nftables' }), [on('a', apples), on('b', '')]);
    expect(asked).toBe(2);
  });

  test('is also a network of one’s own that is known', async () => {
    const file = join(folder, 'cilium.yaml');
    writeFileSync(file, 'image: quay.io/cilium/cilium:v1.18.0\n');
    await expect(checkKernels(cluster({ cni: { file } }), [on('a', apples)])).rejects.toMatchObject({
      details: [expect.stringContaining('BPF_JIT')],
    });
    writeFileSync(file, 'image: docker.io/flannel/flannel:v0.27.0\n');
    await checkKernels(cluster({ cni: { file } }), [on('a', apples)]);
  });
});
