/**
 * `npm run bench`: kina and its peers, in turn, in one run on one machine. Prints a table of medians and ratios, and what
 * each row needs is said where it is missing. Peers: mmdebstrap and umoci for the base, podman build for the image.
 *
 * Everything works on downloads that are there already, on both sides; servers and registries are not what is measured.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { stringify } from 'yaml';
import { debianMirror } from '../support/cache.ts';
import { releaseFile, startMirror } from '../support/mirror.ts';
import { missing } from '../support/requirements.ts';
import { canMeasure, inTurn, median, type Run, type Side, type Step } from './measure.ts';

const root = resolve(import.meta.dirname, '../..');
const scratch = mkdtempSync(join(tmpdir(), 'kina-bench-'));
const rounds = Number(process.env.KINA_BENCH_ROUNDS ?? 3);
const rows: string[][] = [];

const packages =
  'base-files base-passwd bash coreutils dash debianutils diffutils dpkg findutils grep gzip hostname libc-bin mawk sed tar util-linux systemd systemd-sysv mount e2fsprogs kmod iproute2 ethtool procps iptables nftables conntrack libseccomp2 ca-certificates curl jq'.split(
    ' ',
  );

/** mmdebstrap with the packages that are there; `essential` and what is included, or `extract`, which runs no scripts. */
function mmdebstrapWith(debs: string, variant: string, target: string): string[] {
  return [
    'mmdebstrap',
    `--variant=${variant}`,
    '--mode=root',
    '--format=tar',
    `--include=${packages.join(',')}`,
    '--setup-hook=mkdir -p "$1/var/cache/apt/archives"',
    `--setup-hook=sync-in ${debs} /var/cache/apt/archives`,
    'trixie',
    target,
    debianMirror,
  ];
}

/** The base layer alone, as a recipe. */
const baseRecipe = join(scratch, 'base.yaml');
writeFileSync(
  baseRecipe,
  stringify({
    name: 'bench-base',
    layers: [
      {
        name: 'base',
        steps: [{ debian: { archives: [{ archive: 'debian', suite: 'trixie', components: ['main'] }], packages } }],
      },
      { name: 'system', steps: [{ system: {} }] },
    ],
  }),
);

const store = join(scratch, 'store');
const environment = { KINA_CACHE_DIR: store, KINA_DEBIAN_CHECK_VALID_UNTIL: 'false', CI: '1' };

function kina(...args: string[]): Step {
  return { argv: [process.execPath, join(root, 'bin/kina.js'), ...args, '--quiet'], env: environment };
}

/** Forgets everything but downloads and resolutions. */
function forgetWork(): void {
  rmSync(join(store, 'unpacked'), { recursive: true, force: true });
  for (const kind of ['layer', 'image', 'compressed', 'imported'])
    rmSync(join(store, 'records', kind), { recursive: true, force: true });
}

function row(name: string, target: string, sides: readonly string[], runs: readonly Run[][]): void {
  const [own, peer] = runs as [Run[], Run[] | undefined];
  const wall = median(own.map((r) => r.wall));
  const cells = [
    name,
    `${wall.toFixed(2)} s`,
    `${median(own.map((r) => r.cpu)).toFixed(2)} s`,
    `${Math.round(Math.max(...own.map((r) => r.memory)))} MiB`,
  ];
  if (peer) {
    const other = median(peer.map((r) => r.wall));
    cells.push(sides[1] ?? '', `${other.toFixed(2)} s`, (wall / other).toFixed(2));
  } else cells.push('', '', '');
  rows.push([...cells, target]);
  console.error(cells.join('  '));
}

function skip(name: string, reason: string): void {
  rows.push([name, `not measured: ${reason}`, '', '', '', '', '', '']);
  console.error(`${name}: not measured: ${reason}`);
}

async function base(): Promise<void> {
  execFileSync(
    process.execPath,
    [join(root, 'bin/kina.js'), 'build', 'node-image', '--recipe', baseRecipe, '--platform', 'linux/amd64', '--quiet'],
    { env: { ...process.env, ...environment } },
  );
  const own: Side = {
    name: 'kina',
    steps: [kina('build', 'node-image', '--recipe', baseRecipe, '--platform', 'linux/amd64')],
    prepare: forgetWork,
  };
  const reason = missing(['mmdebstrap', 'umoci', 'root']);
  if (reason) return skip('base layer', reason);
  const debs = join(scratch, 'debs');
  mkdirSync(debs, { recursive: true });
  const tar = join(scratch, 'base.tar');
  const layout = join(scratch, 'layout');
  const mmdebstrap = (variant: string, target: string): Step => ({ argv: mmdebstrapWith(debs, variant, target) });
  // Once with downloads kept, so that both sides start from files that are there.
  const keep = [`--customize-hook=sync-out /var/cache/apt/archives ${debs}`, '--skip=essential/unlink'];
  const [program, ...flags] = mmdebstrapWith(debs, 'essential', '/dev/null');
  execFileSync(program!, [...keep, ...flags], { stdio: 'ignore' });
  console.error(`${readdirSync(debs).length} packages at hand for mmdebstrap`);
  const umoci: Step[] = [
    { argv: ['umoci', 'init', '--layout', layout] },
    { argv: ['umoci', 'new', '--image', `${layout}:bench`] },
    { argv: ['umoci', 'raw', 'add-layer', '--image', `${layout}:bench`, tar] },
  ];
  const fresh = (): void => {
    rmSync(layout, { recursive: true, force: true });
    rmSync(tar, { force: true });
  };
  row(
    'base layer',
    '≤ 0.25',
    ['', 'mmdebstrap + umoci'],
    await inTurn([own, { name: 'peer', steps: [mmdebstrap('essential', tar), ...umoci], prepare: fresh }], rounds),
  );
  row(
    'base layer',
    '≤ 0.70',
    ['', 'mmdebstrap --variant=extract'],
    await inTurn([own, { name: 'peer', steps: [mmdebstrap('extract', tar)], prepare: fresh }], rounds),
  );
  const debFiles = `find ${debs} -name '*.deb' -print0 | xargs -0 -n 1 -P ${cpus().length}`;
  bounds('base layer', 'localhost/kina/bench-base:latest', `${debFiles} dpkg-deb --fsys-tarfile`);
}

/** Seconds of a shell command that does one thing and nothing else: what the machine needs at least. */
function floor(script: string): number {
  const started = performance.now();
  execFileSync('sh', ['-c', script], { stdio: ['ignore', 'ignore', 'inherit'] });
  return (performance.now() - started) / 1000;
}

/**
 * What bounds a row on this machine: unpacking, hashing and writing the same bytes with programs that do only that, on all
 * processors. The sum is the floor for one thing after the other; what kina takes beyond it is its own.
 */
function bounds(name: string, reference: string, unpack: string): void {
  const layout = join(scratch, 'floor');
  execFileSync(
    process.execPath,
    [join(root, 'bin/kina.js'), 'image', 'save', reference, '--output', `type=oci,dest=${layout}`],
    {
      env: { ...process.env, ...environment },
      stdio: 'ignore',
    },
  );
  const each = `xargs -0 -n 1 -P ${cpus().length}`;
  const parts = {
    unpacking: floor(unpack),
    'SHA-256': floor(`find ${layout}/blobs -type f -print0 | ${each} sha256sum`),
    writing: floor(`cat ${layout}/blobs/sha256/* >${scratch}/written && sync ${scratch}/written`),
  };
  const sum = Object.values(parts).reduce((a, b) => a + b, 0);
  const said = Object.entries(parts).map(([what, seconds]) => `${what} ${seconds.toFixed(2)} s`);
  floors.push(`${name}: ${said.join(' + ')} = ${sum.toFixed(2)} s`);
  rmSync(layout, { recursive: true, force: true });
  rmSync(join(scratch, 'written'), { force: true });
}
const floors: string[] = [];

async function image(): Promise<void> {
  const mirror = await startMirror();
  if (mirror.skip !== undefined) return skip('whole node image', mirror.skip);
  try {
    const build = (platform: string, ...more: string[]): Step =>
      kina('build', 'node-image', 'v1.20.2', '--platform', platform, '--mirror', mirror.url, ...more);
    const run = (step: Step): void =>
      void execFileSync(step.argv[0]!, step.argv.slice(1), { env: { ...process.env, ...step.env }, stdio: 'ignore' });
    run(build('linux/arm64,linux/amd64'));
    // With the release's images as they are, as the peer stores them: compressing them would be more work.
    const same = build('linux/amd64', '--set', 'preload=none');
    run(same);
    const whole: Side = { name: 'kina', steps: [same], prepare: forgetWork };
    const reason = missing(['podman', 'mmdebstrap', 'root']);
    if (reason) skip('whole node image', reason);
    else
      row(
        'whole node image',
        '≤ 0.25',
        ['', 'mmdebstrap + podman build'],
        await inTurn([whole, podmanBuild()], rounds),
      );

    const mirrorDirectory = releaseFile('');
    const unpackAll = [
      `find ${join(scratch, 'debs')} -name '*.deb' -print0 | xargs -0 -n 1 -P ${cpus().length} dpkg-deb --fsys-tarfile`,
      `find ${mirrorDirectory}/github.com \\( -name '*amd64*gz' \\) -print0 | xargs -0 -n 1 -P ${cpus().length} gzip -dc`,
      `zstd -q -3 -T${cpus().length} -c ${mirrorDirectory}/dl.k8s.io/v1.20.2/bin/linux/amd64/kube-*.tar`,
    ].join('; ');
    bounds('whole node image', 'localhost/kina/node:v1.20.2', unpackAll);
    run(build('linux/amd64'));
    row(
      'nothing changed',
      '≤ 0.5 s + Node',
      [],
      await inTurn([{ name: 'kina', steps: [build('linux/amd64')] }], Math.max(5, rounds)),
    );
    row(
      'Node itself',
      '',
      [],
      await inTurn([{ name: 'node', steps: [{ argv: [process.execPath, '-e', '0'] }] }], Math.max(5, rounds)),
    );

    const [both, first] = await inTurn(
      [
        { name: 'both', steps: [build('linux/arm64,linux/amd64')], prepare: forgetWork },
        { name: 'first', steps: [build('linux/arm64')], prepare: forgetWork },
      ],
      rounds,
    );
    const second = both!.map((r, i) => ({ ...r, wall: r.wall - first![i]!.wall, cpu: r.cpu - first![i]!.cpu }));
    row('second platform after the first', '≤ 1.10', ['', 'the first'], [second, first!]);
    await oneFile(mirror.url);
  } finally {
    await mirror.stop();
  }
}

/** The same files as the node image, put together by podman from the same artifacts. */
function podmanBuild(): Side {
  const context = join(scratch, 'context');
  const mirrorDirectory = releaseFile('');
  const kubernetes = join(mirrorDirectory, 'dl.k8s.io/v1.20.2/bin/linux/amd64');
  mkdirSync(join(context, 'bin'), { recursive: true });
  mkdirSync(join(context, 'images'), { recursive: true });
  for (const name of ['kubeadm', 'kubelet', 'kubectl']) cpSync(join(kubernetes, name), join(context, 'bin', name));
  for (const name of ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'kube-proxy'])
    cpSync(join(kubernetes, `${name}.tar`), join(context, 'images', `${name}.tar`));
  const github = join(mirrorDirectory, 'github.com');
  cpSync(
    join(github, 'containerd/containerd/releases/download/v1.6.20/containerd-1.6.20-linux-amd64.tar.gz'),
    join(context, 'containerd.tar.gz'),
  );
  cpSync(
    join(github, 'containernetworking/plugins/releases/download/v1.1.1/cni-plugins-linux-amd64-v1.1.1.tgz'),
    join(context, 'cni.tgz'),
  );
  cpSync(join(github, 'opencontainers/runc/releases/download/v1.1.5/runc.amd64'), join(context, 'runc'));
  cpSync(join(root, 'recipes/files/node'), join(context, 'node'), { recursive: true });
  writeFileSync(
    join(context, 'Containerfile'),
    'FROM scratch\nADD base.tar /\nADD containerd.tar.gz /usr/local/\nADD cni.tgz /opt/cni/bin/\nCOPY runc /usr/local/sbin/runc\nCOPY bin/ /usr/bin/\nCOPY images/ /kind/images/\nCOPY node/ /\nENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]\n',
  );
  const base = join(context, 'base.tar');
  const debs = join(scratch, 'debs');
  return {
    name: 'podman build',
    prepare: () => rmSync(base, { force: true }),
    steps: [
      { argv: mmdebstrapWith(debs, 'essential', base) },
      { argv: ['podman', 'build', '--no-cache', '--layers', '-t', 'localhost/kina-bench', context] },
    ],
  };
}

async function oneFile(mirror: string): Promise<void> {
  const recipe = join(scratch, 'mine.yaml');
  writeFileSync(
    recipe,
    stringify({
      name: 'mine',
      extends: 'node',
      layers: [{ name: 'mine', steps: [{ file: { path: 'etc/mine.conf', source: 'mine.conf' } }] }],
    }),
  );
  let n = 0;
  const change = (folder: string) => (): void => writeFileSync(join(folder, 'mine.conf'), `n = ${n++}\n`);
  const own: Side = {
    name: 'kina',
    prepare: change(scratch),
    steps: [
      kina('build', 'node-image', 'v1.20.2', '--recipe', recipe, '--platform', 'linux/amd64', '--mirror', mirror),
    ],
  };
  const reason = missing(['podman', 'root']);
  if (reason) return skip('one file changed', reason);
  const context = join(scratch, 'one');
  mkdirSync(context, { recursive: true });
  writeFileSync(join(context, 'Containerfile'), 'FROM localhost/kina-bench\nCOPY mine.conf /etc/mine.conf\n');
  const peer: Side = {
    name: 'podman',
    prepare: change(context),
    steps: [{ argv: ['podman', 'build', '--layers', '-t', 'localhost/kina-bench-one', context] }],
  };
  await inTurn([own, peer], 1);
  row('one configuration file changed', '≤ 0.25', ['', 'podman build, cached'], await inTurn([own, peer], rounds));
  execFileSync('podman', ['rmi', '-f', 'localhost/kina-bench-one', 'localhost/kina-bench'], { stdio: 'ignore' });
}

if (!canMeasure) {
  console.error('npm run bench needs GNU time at /usr/bin/time (Debian: apt-get install time)');
  process.exit(1);
}
try {
  await base();
  await image();
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
const head = ['work', 'kina', 'processor', 'memory', 'peer', 'its time', 'ratio', 'target'];
console.log(`${cpus().length} × ${cpus()[0]?.model}, Node ${process.versions.node}, medians of ${rounds}\n`);
for (const line of [head, head.map(() => '---'), ...rows]) console.log(`| ${line.join(' | ')} |`);
if (floors.length > 0)
  console.log(`\nThe same bytes by programs that do nothing else, on ${cpus().length} processors:\n`);
for (const line of floors) console.log(`- ${line}`);
