import semver from 'semver';
import { describe, expect, test } from 'vitest';
import { versionFacts, versionTable } from '../../../src/build/versions.ts';
import { cgroupDriver, defaultTag } from '../../../src/oci/node-conventions.ts';

describe('the version table', () => {
  test('1.20 is what can be built and booted in a closed network', async () => {
    expect(await versionFacts('v1.20.2')).toMatchObject({
      containerd: '1.6.20',
      runc: '1.1.5',
      cni: '1.1.1',
      pause: '3.2',
      etcd: '3.4.13-0',
      coredns: '1.7.0',
      imageRepository: 'k8s.gcr.io',
    });
  });

  test('minors follow each other without a gap, and the newest patch belongs to its row', async () => {
    const rows = await versionTable();
    expect(rows[0]!.kubernetes).toBe('1.20');
    rows.forEach((row, i) => {
      expect(row.kubernetes).toBe(`1.${20 + i}`);
      expect(semver.major(row.latest)).toBe(1);
      expect(semver.minor(row.latest)).toBe(20 + i);
    });
  });

  test('containerd speaks the CRI that the kubelet speaks: v1alpha2 ends with containerd 1.7, v1 begins with 1.6', async () => {
    for (const row of await versionTable()) {
      const minor = Number(row.kubernetes.split('.')[1]);
      if (minor < 26) expect(semver.lt(row.containerd, '2.0.0'), row.kubernetes).toBe(true);
      if (minor >= 26) expect(semver.gte(row.containerd, '1.6.0'), row.kubernetes).toBe(true);
    }
  });

  test('later patches of a minor may have other facts', async () => {
    expect((await versionFacts('v1.22.16')).imageRepository).toBe('k8s.gcr.io');
    expect((await versionFacts('v1.22.17')).imageRepository).toBe('registry.k8s.io');
  });

  test('an unknown minor says what there is', async () => {
    await expect(versionFacts('v1.19.0')).rejects.toThrow('no row for Kubernetes v1.19.0');
  });
});

describe('decisions that image and cluster share', () => {
  test('a pre-release of 1.24 already counts as 1.24', () => {
    expect(cgroupDriver('v1.23.17')).toBe('cgroupfs');
    expect(cgroupDriver('v1.24.0-alpha.1')).toBe('systemd');
    expect(cgroupDriver('v1.34.2')).toBe('systemd');
  });

  test('a build version becomes a legal tag', () => {
    expect(defaultTag('node', 'v1.35.0-alpha.1+abc')).toBe('localhost/kina/node:v1.35.0-alpha.1_abc');
  });
});
