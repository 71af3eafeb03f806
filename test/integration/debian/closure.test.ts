import { execFile, spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openArchives, readIndexes } from '../../../src/debian/index.ts';
import { resolveClosure, type SuiteIndex } from '../../../src/debian/resolve.ts';
import { archive, bases, context, mirrorProblem, nodePackages, scratch } from './support.ts';

const problem =
  (await mirrorProblem()) ?? (spawnSync('apt-get', ['--version']).status === 0 ? undefined : 'no apt-get');
if (problem) console.warn(`SKIPPED: closures are not compared with apt: ${problem}`);

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

describe.skipIf(problem)('closures are those of apt without recommends on an empty system', () => {
  for (const [suite, architecture] of platforms) {
    describe(`${suite} ${architecture}`, () => {
      let index: SuiteIndex | undefined;
      let options: string[];
      beforeAll(async () => {
        const [open] = await openArchives([archive(suite)], context);
        [index] = await readIndexes(open!, architecture, context);
        options = privateApt(suite, architecture);
        await promisify(execFile)('apt-get', [...options, 'update']);
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
          const theirs = await aptClosure(options, [...known, ...packages.essential]);
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

/** apt with a root of its own: nothing of this machine's configuration or packages counts. */
function privateApt(suite: string, architecture: string): string[] {
  const root = join(scratch, `apt-${suite}-${architecture}`);
  for (const folder of ['lists/partial', 'archives/partial', 'etc']) mkdirSync(join(root, folder), { recursive: true });
  writeFileSync(join(root, 'status'), '');
  const keyring = resolve('recipes/keys/debian-archive-keyring.pgp');
  writeFileSync(join(root, 'sources.list'), `deb [signed-by=${keyring}] ${bases.debian} ${suite} main\n`);
  const set: Record<string, string> = {
    'APT::Architecture': architecture,
    'APT::Architectures': architecture,
    'APT::Install-Recommends': 'false',
    'Acquire::Languages': 'none',
    'Acquire::Check-Valid-Until': 'false',
    'Dir::State': root,
    'Dir::State::lists': join(root, 'lists'),
    'Dir::State::status': join(root, 'status'),
    'Dir::Cache': root,
    'Dir::Etc': join(root, 'etc'),
    'Dir::Etc::SourceList': join(root, 'sources.list'),
    'Dir::Etc::SourceParts': '/nonexistent',
  };
  return Object.entries(set).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
}

async function aptClosure(options: readonly string[], packages: readonly string[]): Promise<string[]> {
  const { stdout } = await promisify(execFile)('apt-get', [...options, '-s', 'install', ...packages], {
    maxBuffer: 64 << 20,
    env: { ...process.env, LC_ALL: 'C' },
  });
  return [...stdout.matchAll(/^Inst (\S+) \((\S+) /gm)].map((match) => `${match[1]} ${match[2]}`);
}
