/** Every row of the version table, built for both platforms from a synthetic upstream, on a real Debian base. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { versionFacts, versionTable } from '../../../src/build/versions.ts';
import { openWorkshop, type Workshop } from '../../support/build.ts';
import { describeUnless, noDebianMirror } from '../../support/requirements.ts';
import { startUpstream, type Upstream } from '../../support/upstream.ts';

const rows = await versionTable();

describeUnless(await noDebianMirror(), 'every row of the version table', () => {
  let upstream: Upstream;
  let workshop: Workshop;
  beforeAll(async () => {
    upstream = await startUpstream();
    workshop = await openWorkshop({ mirror: [upstream.url] });
  });
  afterAll(async () => {
    await workshop?.close();
    await upstream?.stop();
  });

  test.each(rows.map((r) => r.latest))('%s', async (version) => {
    const facts = await versionFacts(version);
    const built = await workshop.build({ source: version, platforms: ['linux/arm64', 'linux/amd64'], strict: true });
    for (const platform of ['linux/arm64', 'linux/amd64']) {
      const files = await workshop.files(built, platform, 'base');
      const text = (path: string): string => files.get(path)!.data.toString();
      expect(text('kind/version')).toBe(version);
      for (const binary of ['kubeadm', 'kubelet', 'kubectl']) {
        expect(text(`usr/bin/${binary}`)).toContain(`${binary} ${version}`);
        expect(files.get(`usr/bin/${binary}`)!.mode).toBe(0o755);
      }
      expect(text('usr/local/bin/containerd')).toContain(`containerd ${facts.containerd}`);
      expect(text('usr/local/sbin/runc')).toContain(`runc ${facts.runc}`);
      expect(text('opt/cni/bin/ptp')).toContain(`ptp ${facts.cni}`);
      expect(text('usr/local/bin/crictl')).toContain(`crictl ${facts.crictl}`);

      // The configuration is what this containerd reads, and says what this kubelet expects.
      const toml = text('etc/containerd/config.toml');
      expect(toml).toMatch(facts.containerd.startsWith('2.') ? /^version = 3$/m : /^version = 2$/m);
      const old = Number(version.split('.')[1]) < 24;
      expect(toml).toContain(`SystemdCgroup = ${!old}`);
      expect(toml).toContain(`"${facts.imageRepository}/pause:${facts.pause}"`);
      expect(toml).not.toContain('${');

      // Every image that kubeadm of this version asks for, by the name it asks with.
      const archives = [...files]
        .filter(([path]) => /^kind\/images\/.*\.tar$/.test(path))
        .map(([, f]) => f.data.toString('latin1'));
      const wanted = [
        ...['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kube-proxy'].map(
          (n) => `registry.k8s.io/${n}:${version}`,
        ),
        `${facts.imageRepository}/pause:${facts.pause}`,
        `${facts.imageRepository}/etcd:${facts.etcd}`,
        `${facts.imageRepository}/${facts.corednsImage}:${facts.coredns}`,
      ];
      for (const name of wanted)
        expect(
          archives.some((a) => a.includes(`"${name}"`)),
          name,
        ).toBe(true);

      const { Labels } = (await workshop.config(built, platform)).config;
      expect(Labels['dev.kina.kubernetes']).toBe(version);
      expect(Labels['dev.kina.component.containerd']).toBe(facts.containerd);
      expect(Labels['dev.kina.absent']).toBeUndefined();
    }
  });

  describe('after the first', () => {
    test('another patch of the same minor rebuilds two layers and takes the rest from the cache', async () => {
      const first = await workshop.build({ source: 'v1.33.1' });
      const second = await workshop.build({ source: 'v1.33.2' });
      expect(first.index.digest).not.toBe(second.index.digest);
      const layers = second.platforms[0]!.layers;
      expect(layers.filter((l) => !l.cached).map((l) => l.name)).toEqual(['kubernetes', 'images']);
    });

    test('nothing changed: the image itself is remembered', async () => {
      const first = await workshop.build({ source: 'v1.33.1' });
      const again = await workshop.build({ source: 'v1.33.1' });
      expect(again.platforms[0]!.cached).toBe(true);
      expect(again.index.digest).toBe(first.index.digest);
    });
  });
});
