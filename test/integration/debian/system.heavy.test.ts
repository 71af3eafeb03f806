import { execFileSync, spawnSync } from 'node:child_process';
import { createWriteStream, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { beforeAll, expect, test } from 'vitest';
import { openArchives, planPackages } from '../../../src/debian/index.ts';
import { defaultPruneRules, pruner } from '../../../src/debian/prune.ts';
import { unknownScripts } from '../../../src/debian/scripts.ts';
import { deriveSystem } from '../../../src/debian/system.ts';
import { type PackageTree, unpackPackages } from '../../../src/debian/unpack-all.ts';
import { writeTar } from '../../../src/tree/tar-write.ts';
import { Unpacker } from '../../../src/tree/unpack.ts';
import { describeUnless } from '../../support/requirements.ts';
import { archive, context, mirrorProblem, nodePackages, scratch } from './support.ts';

const mtime = 1767225600;
const problem =
  (await mirrorProblem()) ??
  (process.getuid?.() === 0 ? undefined : 'chroot needs root') ??
  (spawnSync('dpkg', ['--version']).status === 0 ? undefined : 'no dpkg');

/** A closure unpacked and derived by kina, extracted by tar, judged by the programs in it and by the host's dpkg. */
describeUnless(problem, 'a node of Debian 13 without a single script run', () => {
  const root = join(scratch, 'root');
  let unpacked: PackageTree;
  const chroot = (...command: string[]) => {
    const run = spawnSync('chroot', [root, ...command], {
      encoding: 'utf8',
      env: { PATH: '/usr/sbin:/usr/bin', LC_ALL: 'C' },
    });
    return `${run.stdout}${run.stderr}`;
  };

  beforeAll(async () => {
    const archives = await openArchives([archive('trixie')], context);
    const request = { architecture: 'amd64', packages: nodePackages, essential: true };
    const planned = await planPackages(archives, request, context);
    const fetched = [];
    for (const { artifact } of planned) fetched.push(await context.fetchFile(artifact));
    const keep = pruner(defaultPruneRules);
    unpacked = await unpackPackages(fetched, { unpacker: new Unpacker(join(scratch, 'unpacked')), keep });
    const { tree, packages } = unpacked;
    tree.merge(await deriveSystem(tree, packages, { architecture: 'amd64', mtime, prune: defaultPruneRules }), {
      replace: true,
    });
    await pipeline(Readable.from(writeTar(tree.sorted(), { mtime })), createWriteStream(join(scratch, 'root.tar')));
    mkdirSync(root);
    execFileSync('tar', ['-xf', join(scratch, 'root.tar'), '-C', root, '--numeric-owner']);
  });

  test('every maintainer script has been reviewed', () => {
    expect(unknownScripts(unpacked.packages)).toEqual([]);
  });

  test('dpkg lists every package, finds nothing to complain about, and knows whose a file is', () => {
    const listed = execFileSync('dpkg', ['--root', root, '-l'], { encoding: 'utf8' }).match(/^ii /gm);
    expect(listed?.length).toBe(unpacked.packages.length);
    expect(execFileSync('dpkg', ['--root', root, '--audit'], { encoding: 'utf8' })).toBe('');
    expect(chroot('dpkg', '--verify')).toBe('');
    expect(chroot('dpkg', '-S', '/usr/bin/curl')).toBe('curl: /usr/bin/curl\n');
  });

  test('the loader’s cache is the one that ldconfig writes, byte for byte', () => {
    const ours = readFileSync(join(root, 'etc/ld.so.cache'));
    chroot('ldconfig', '-X');
    expect(readFileSync(join(root, 'etc/ld.so.cache')).equals(ours)).toBe(true);
  });

  test('alternatives can be switched, as entrypoints do', () => {
    expect(chroot('update-alternatives', '--set', 'iptables', '/usr/sbin/iptables-legacy')).toMatch(/manual mode/);
    expect(chroot('iptables', '--version')).toMatch(/legacy/);
    expect(chroot('update-alternatives', '--auto', 'iptables')).toMatch(/iptables-nft/);
    expect(chroot('iptables-save', '--version')).toMatch(/iptables-save/);
    expect(chroot('awk', 'BEGIN { print 6 * 7 }')).toBe('42\n');
  });

  test('certificates: openssl finds every authority by its hash, and rehash would change nothing', () => {
    const before = chroot('sh', '-c', 'cd /etc/ssl/certs && ls -l | cut -d: -f2-');
    chroot('openssl', 'rehash', '/etc/ssl/certs');
    expect(
      chroot('sh', '-c', 'cd /etc/ssl/certs && ls -l | cut -d: -f2-').replaceAll(/^\d\d .*?(?=\S+ -> )/gm, ''),
    ).toBe(before.replaceAll(/^\d\d .*?(?=\S+ -> )/gm, ''));
    expect(before.match(/\.0 -> /g)?.length).toBeGreaterThan(100);
  });

  test('PAM stacks are those of pam-auth-update', () => {
    const read = () => chroot('sh', '-c', 'cat /etc/pam.d/common-* && cd /var/lib/pam && tail -n +1 *');
    const ours = read();
    // Its records say that they were not edited, so a package that brings a profile can install it.
    expect(chroot('env', 'DEBIAN_FRONTEND=noninteractive', 'pam-auth-update', '--package')).toBe('');
    expect(read()).toBe(ours);
    chroot(
      'sh',
      '-c',
      'rm /etc/pam.d/common-* /var/lib/pam/*; DEBIAN_FRONTEND=noninteractive pam-auth-update --package --force',
    );
    expect(ours).toBe(read());
  });

  test('accounts are consistent, shadow is readable for its group only', () => {
    expect(chroot('grpck', '-r')).toBe('');
    expect(chroot('pwck', '-r').replaceAll(/^user .* does not exist\n|^pwck: no changes\n/gm, '')).toBe('');
    expect(chroot('stat', '-c', '%a %U:%G', '/etc/shadow', '/etc/gshadow')).toBe('640 root:shadow\n640 root:shadow\n');
    expect(chroot('stat', '-c', '%a %U:%G', '/usr/lib/dbus-1.0/dbus-daemon-launch-helper')).toBe(
      '4754 root:messagebus\n',
    );
    expect(chroot('stat', '-c', '%U', '/var/lib/nfs/sm')).toBe('statd\n');
  });
});
