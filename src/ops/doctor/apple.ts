/** Checks of a Mac with Apple's container: macOS, the program and its service, the kernel of nodes. */
import { join } from 'node:path';
import semver from 'semver';
import { decodeService, versionIn } from '../../provider/apple-decode.ts';
import { minimumVersion, oneNodeOnly, whyMinimum } from '../../provider/apple-errors.ts';
import { bad, type DoctorCheck, type DoctorOutcome, ok, type Probes } from './check.ts';
import { checkKernelConfig } from './machine.ts';

const onMac = ({ platform }: Probes): boolean => platform === 'darwin';
const start = '`container system start --enable-kernel-install`';

const macos: DoctorCheck = {
  id: 'macos',
  title: 'macOS',
  applies: onMac,
  async run({ run }) {
    const { stdout } = await run(['sw_vers', '-productVersion']);
    const version = stdout.trim();
    const major = Number(/^\d+/.exec(version)?.[0]);
    if (!Number.isInteger(major))
      return bad(
        'unknown',
        `sw_vers printed ${JSON.stringify(version)}`,
        'kina needs macOS 15; macOS 26 is recommended.',
      );
    if (major < 15)
      return bad('fail', version, "Update macOS: Apple's container needs macOS 15, and several nodes need macOS 26.");
    return major < 26 ? bad('warn', version, oneNodeOnly) : ok(version);
  },
};

interface Service {
  readonly status: string;
  readonly version: string | undefined;
}

/** The exit code is 1 when the service is down, but the output is complete. */
async function service({ run }: Probes): Promise<Service & { appRoot: string | undefined }> {
  const { stdout } = await run(['container', 'system', 'status', '--format=json']);
  const { appRoot, paths } = JSON.parse(stdout || '{}') as { appRoot?: string; paths?: { appRoot?: string } };
  return { ...decodeService(stdout), appRoot: (paths?.appRoot ?? appRoot) || undefined };
}

const program: DoctorCheck = {
  id: 'apple-container',
  title: "Apple's container",
  applies: onMac,
  async run(probes) {
    const { stdout } = await probes.run(['container', '--version']);
    const version = versionIn(stdout);
    if (!version) return bad('unknown', stdout.trim(), `kina needs ${minimumVersion} or later.`);
    if (semver.lt(version, minimumVersion))
      return bad(
        'fail',
        version,
        `Install ${minimumVersion} or later, then \`container system stop\` and ${start}. ${whyMinimum}`,
      );
    const found = await service(probes);
    if (found.status !== 'running')
      return bad('fail', `${version}, its service is ${found.status}`, `Start it: ${start}.`);
    if (found.version && found.version !== version)
      return bad(
        'warn',
        `${version}, its service is ${found.version}`,
        `Complete the upgrade: \`container system stop\`, then ${start}.`,
      );
    return ok(version);
  },
};

/** Former default kernels of upstream. An upgrade never replaces an installed kernel. */
const old = /vmlinux-6\.12\./;

const kernel: DoctorCheck = {
  id: 'apple-kernel',
  title: 'kernel of nodes',
  applies: onMac,
  async run(probes): Promise<DoctorOutcome> {
    // The kernel of a running node is more certain than the name of the file that the next node would boot.
    const engine = (await probes.engines()).find(
      ({ provider, version }) => provider.capabilities.nodeKernel && version,
    );
    const node =
      engine &&
      (await probes.nodes(engine)).find(({ state, role }) => state === 'running' && role !== 'external-load-balancer');
    if (engine && node) {
      const { code, stdout } = await engine.provider.exec(node.name, ['sh', '-c', 'uname -r; zcat /proc/config.gz']);
      const [version = '', ...config] = stdout.split('\n');
      if (code === 0) return checkKernelConfig(config.join('\n'), `Linux ${version} of ${node.name}`);
    }
    const { appRoot } = await service(probes);
    if (!appRoot) return bad('unknown', 'the service did not print its folder', `Start it: ${start}.`);
    const folder = join(appRoot, 'kernels');
    const listed = await probes.run(['readlink', join(folder, 'default.kernel-arm64')]);
    const file = listed.stdout.trim().split('/').at(-1);
    if (!file) return bad('fail', `no default kernel in ${folder}`, `Install one: ${start}.`);
    if (old.test(file))
      return bad(
        'warn',
        file,
        'This kernel lacks nf_tables, VXLAN and bridge netfilter, and upgrades keep it. Replace it for new containers: `container system kernel set --recommended --force`.',
      );
    return ok(file);
  },
};

export const appleChecks: readonly DoctorCheck[] = [macos, program, kernel];
