import { expect, test } from 'vitest';
import { firstRange } from '../../../src/cluster/actions/first-range.ts';
import { loadCluster } from '../../../src/cluster/config/cluster.ts';

const load = (body: string) =>
  firstRange(
    loadCluster({
      text: `kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n${body}`,
      overrides: {},
      cwd: '/',
      env: {},
    }),
  );

test('the first node has the first range of the pod subnet', () => {
  expect(load('')).toBe('10.244.0.0/24');
  expect(load('networking: { podSubnet: 192.168.128.0/17 }')).toBe('192.168.128.0/24');
  // host bits do not count
  expect(load('networking: { podSubnet: 10.7.3.9/16 }')).toBe('10.7.0.0/24');
});

test('nothing is guessed where ranges are cut otherwise', () => {
  expect(load('networking: { ipFamily: dual }')).toBeUndefined();
  expect(load('networking: { ipFamily: ipv6 }')).toBeUndefined();
  expect(load('networking: { podSubnet: 10.1.0.0/25 }')).toBeUndefined();
  const patch = 'kind: ClusterConfiguration\n    controllerManager: { extraArgs: { node-cidr-mask-size: "25" } }';
  expect(load(`kubeadmConfigPatches:\n  - |\n    ${patch}`)).toBeUndefined();
});
