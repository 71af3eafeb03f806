/** One package's newest version beside pinned ones: what must come along does, and nothing else. */
import { expect, test } from 'vitest';
import type { Artifact } from '../../../src/artifacts/artifact.ts';
import type { PlannedPackage } from '../../../src/debian/index.ts';
import { movingPackages } from '../../../src/debian/partial-upgrade.ts';

const artifact = (name: string, version: string): Artifact => ({
  type: 'deb',
  name,
  version,
  url: `debian:debian/pool/${name}_${version}.deb`,
  size: 1,
  verifiedBy: 'OpenPGP',
  digest: `sha256:${'0'.repeat(64)}`,
});
interface Facts {
  needs?: string[];
  breaks?: string[];
  source?: string;
  because?: string[];
}
const planned = (name: string, version: string, facts: Facts = {}): PlannedPackage => ({
  artifact: artifact(name, version),
  architecture: 'amd64',
  suite: 'stable',
  released: '',
  source: name,
  because: [],
  needs: [],
  breaks: [],
  ...facts,
});
const pinned = (versions: Record<string, string>) =>
  new Map(Object.entries(versions).map(([name, version]) => [name, artifact(name, version)]));
const moving = (newest: PlannedPackage[], versions: Record<string, string>, name = 'openssl'): string[] =>
  [...movingPackages(newest, pinned(versions), name)].sort();

test('what the new version can live with stays', () => {
  const newest = [
    planned('openssl', '2', { needs: ['libc6 (>= 2.0)', 'zlib1g'] }),
    planned('libc6', '3'),
    planned('zlib1g', '9'),
  ];
  expect(moving(newest, { openssl: '1', libc6: '2.1', zlib1g: '1' })).toEqual(['openssl']);
});

test('a dependency that is too old comes along, with its own, but no alternative that is not needed', () => {
  const newest = [
    planned('openssl', '2', { needs: ['libssl3 (>= 2)', 'debconf | cdebconf (>= 1)'] }),
    planned('libssl3', '2', { needs: ['libc6 (>= 3)'] }),
    planned('libc6', '3'),
    planned('cdebconf', '2'),
  ];
  const versions = { openssl: '1', libssl3: '1', libc6: '2', cdebconf: '1' };
  expect(moving(newest, versions)).toEqual(['libc6', 'libssl3', 'openssl']);
});

test('packages of one source move together, in either direction; others of that source stay away', () => {
  const newest = [
    planned('systemd', '2', { needs: ['libsystemd0 (= 2)'] }),
    planned('libsystemd0', '2', { source: 'systemd' }),
    planned('udev', '2', { source: 'systemd' }),
    planned('bash', '6'),
  ];
  const versions = { systemd: '1', libsystemd0: '1', bash: '5' };
  expect(moving(newest, versions, 'libsystemd0')).toEqual(['libsystemd0', 'systemd']);
});

test('what was not there and is needed now is added, by its name or by a virtual one', () => {
  const newest = [
    planned('openssl', '2', { needs: ['openssl-provider-legacy', 'mail-transport-agent'] }),
    planned('openssl-provider-legacy', '2', { because: ['openssl'] }),
    planned('exim4', '4', { because: ['openssl'], needs: ['libexim'] }),
    planned('libexim', '4', { because: ['exim4'] }),
    planned('unrelated', '1', { because: ['bash'] }),
  ];
  expect(moving(newest, { openssl: '1' })).toEqual(['exim4', 'libexim', 'openssl', 'openssl-provider-legacy']);
});

test('what the new version breaks in its pinned version moves; what is broken only in older ones does not', () => {
  const newest = [
    planned('openssl', '2', { breaks: ['curl (<< 8)', 'jq (<< 1.5)', 'openssl (<< 2)'] }),
    planned('curl', '8'),
    planned('jq', '2'),
  ];
  expect(moving(newest, { openssl: '1', curl: '7', jq: '1.7' })).toEqual(['curl', 'openssl']);
});

test('a package that is gone moves nothing', () => {
  expect(moving([planned('bash', '6')], { openssl: '1', bash: '5' })).toEqual([]);
});
