import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openArchives, readIndexes } from '../../../src/debian/index.ts';
import { resolveClosure, type SuiteIndex } from '../../../src/debian/resolve.ts';
import { describeUnless } from '../../support/requirements.ts';
import { openApt, type PrivateApt } from './apt.ts';
import { archive, context, mirrorProblem, nodePackages } from './support.ts';

const problem =
  (await mirrorProblem()) ?? (spawnSync('apt-get', ['--version']).status === 0 ? undefined : 'no apt-get');

/** What nodes and their neighbours are made of, and what is hard: virtual packages, alternatives, MTAs, Perl, Python, big closures. */
const sets: readonly string[][] = [
  nodePackages,
  ['containerd', 'runc', 'containernetworking-plugins'],
  ['podman'],
  ['openssh-server'],
  ['chrony'],
  ['open-iscsi'],
  ['default-mta'],
  ['exim4-daemon-light', 'mailutils'],
  ['python3-minimal'],
  ['python3-requests'],
  ['git'],
  ['vim-tiny', 'less'],
  ['build-essential'],
  ['network-manager'],
  ['systemd-resolved', 'systemd-timesyncd'],
  ['sysvinit-core'],
  ['gawk'],
  ['openjdk-17-jre-headless', 'openjdk-21-jre-headless'],
  ['emacs-nox'],
  ['postgresql'],
  ['nginx'],
  ['apache2'],
  ['busybox-static'],
  ['cryptsetup', 'lvm2'],
  ['fuse3', 'nfs-common'],
  ['dnsutils', 'tcpdump', 'strace'],
  ['linux-image-amd64', 'linux-image-arm64'],
  ['kubernetes-client'],
  ['haproxy', 'socat', 'ebtables', 'ipset', 'ipvsadm'],
  ['locales', 'tzdata', 'wget', 'rsync'],
];

const platforms = [
  ['bookworm', 'amd64'],
  ['trixie', 'amd64'],
  ['bookworm', 'arm64'],
  ['trixie', 'arm64'],
] as const;

describeUnless(problem, 'closures are those of apt without recommends on an empty system', () => {
  for (const [suite, architecture] of platforms) {
    describe(`${suite} ${architecture}`, () => {
      let index: SuiteIndex | undefined;
      let apt: PrivateApt;
      beforeAll(async () => {
        const [open] = await openArchives([archive(suite)], context);
        [index] = await readIndexes(open!, architecture, context);
        apt = await openApt(suite, architecture);
      });
      afterAll(() => {
        // 60 MB each; the next platform brings its own.
        index = undefined;
      });

      // Each set on one of the four platforms, the first on all: what differs between them is the data.
      const mine = sets.filter((_, i) => i % 4 === platforms.findIndex(([s, a]) => s === suite && a === architecture));
      test('all sets', async () => {
        const differences: string[] = [];
        for (const set of [sets[0]!, ...mine]) {
          const { packages } = index!;
          const known = set.filter((name) => packages.versions(name).length > 0);
          if (known.length === 0) continue;
          const ours = resolveClosure({ indexes: [index!], architecture, packages: known, essential: true });
          const theirs = (await apt.closure([...known, ...packages.essential])) ?? [];
          const mineNames = ours.map(({ record }) => `${record.name} ${record.version}`);
          const extra = mineNames.filter((name) => !theirs.includes(name));
          const missing = theirs.filter((name) => !mineNames.includes(name));
          if (extra.length + missing.length > 0)
            differences.push(`${known.join(' ')}: only kina [${extra.join(', ')}], only apt [${missing.join(', ')}]`);
        }
        expect(differences).toEqual([]);
      });
    });
  }
});
