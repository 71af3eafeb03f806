/** What is newer than a lock, from hand-made locks: each kind of change is told as what it is. */
import { expect, test } from 'vitest';
import type { Lock } from '../../../src/build/lock.ts';
import { compareLocks } from '../../../src/ops/outdated/compare.ts';

type Step = Lock['platforms'][string][string];
const hex = (c: string): `sha256:${string}` => `sha256:${c.repeat(64)}`;
const deb = (name: string, version: string, archive = 'debian') => ({
  type: 'deb' as const,
  name,
  version,
  size: 1,
  digest: hex('d'),
  verifiedBy: 'OpenPGP',
  url: `debian:${archive}/pool/main/x/${name}_${version}.deb`,
});
const lockOf = (steps: Record<string, Partial<Step>>, kubernetes = 'v1.34.1', platforms = ['linux/amd64']): Lock => ({
  version: 2,
  recipe: 'node',
  kubernetes,
  variables: {},
  platforms: Object.fromEntries(
    platforms.map((platform) => [
      platform,
      Object.fromEntries(Object.entries(steps).map(([id, step]) => [id, { step: hex('a'), ...step }])),
    ]),
  ),
});
const debian = (...artifacts: ReturnType<typeof deb>[]) => ({
  'base/debian': { notes: { 'debian-security/trixie-security': '2026-01-01T00:00:00.000Z' }, artifacts },
});

test('equal locks have nothing that is newer, whatever their remarks say', () => {
  const one = lockOf(debian(deb('bash', '1')));
  const other = structuredClone(one);
  other.platforms['linux/amd64']!['base/debian']!.notes = { 'debian/trixie': 'later' };
  expect(compareLocks(one, other)).toEqual([]);
});

test('a security update is named with its suite and comes first', () => {
  const before = lockOf(debian(deb('bash', '1'), deb('openssl', '3.5.1-1'), deb('gone', '1')));
  const after = lockOf(
    debian(deb('bash', '2'), deb('openssl', '3.5.1-1+deb13u1', 'debian-security'), deb('new', '1')),
    'v1.34.9',
  );
  const updates = compareLocks(before, after);
  expect(updates.map(({ kind, name, locked, newest }) => [kind, name, locked, newest])).toEqual([
    ['debian', 'openssl', '3.5.1-1', '3.5.1-1+deb13u1'],
    ['kubernetes', 'kubernetes', 'v1.34.1', 'v1.34.9'],
    ['debian', 'bash', '1', '2'],
    ['debian', 'gone', '1', undefined],
    ['debian', 'new', undefined, '1'],
  ]);
  expect(updates[0]).toMatchObject({ security: true, why: 'security update: debian-security/trixie-security' });
  expect(updates[1]!.why).toContain('CHANGELOG-1.34.md');
  expect(updates[2]).toMatchObject({ security: false, why: 'newer in debian' });
});

test('components: what kubeadm wants is told apart from what the table suggests; Debian has its own lines', () => {
  const steps = (etcd: string, runc: string): Record<string, Partial<Step>> => ({
    'images/2': { components: { etcd } },
    'runtime/1': { components: { runc } },
    'runtime/2': { components: { containerd: runc }, artifacts: [deb('containerd', runc)] },
    // Of an image within the image.
    'images/5/base/1': { components: { other: runc } },
  });
  const before = lockOf(steps('3.6.4-0', '1.3.0'), 'v1.34.1', ['linux/amd64', 'linux/arm64']);
  const after = lockOf(steps('3.6.5-0', '1.3.6'), 'v1.34.1', ['linux/amd64', 'linux/arm64']);
  expect(compareLocks(before, after).map(({ name, why, platforms }) => [name, why, platforms.length])).toEqual([
    ['etcd', 'required by kubeadm v1.34.1', 2],
    ['runc', "in kina's version table for Kubernetes v1.34.1", 2],
    ['containerd', 'newer in debian', 2],
  ]);
});

test('a release whose bytes changed, and a tag that moved, are warnings, not updates', () => {
  const file = <T extends string>(type: T, name: string, c: string) => ({
    type,
    name,
    url: `https://x/${name}`,
    size: 1,
    digest: hex(c),
    verifiedBy: 'x',
  });
  const image = (c: string) => ({
    name: 'registry.k8s.io/pause:3.10',
    manifest: file('manifest', 'manifest', c),
    config: file('config', 'config', c),
    layers: [],
  });
  const at = (c: string) => lockOf({ 'a/1': { artifacts: [file('binary', 'runc', c)], images: [image(c)] } });
  const updates = compareLocks(at('1'), at('2'));
  expect(updates.map(({ kind, name }) => [kind, name])).toEqual([
    ['replaced', 'https://x/runc'],
    ['replaced', 'registry.k8s.io/pause:3.10'],
  ]);
  expect(updates[0]!.why).toContain('find out why');
});

test('a newer patch that could not be resolved is named all the same', () => {
  expect(compareLocks(lockOf({}), lockOf({}), 'v1.34.3')).toMatchObject([{ kind: 'kubernetes', newest: 'v1.34.3' }]);
});
