/** Checks of the machine: disk, memory, and on Linux limits and kernel. */
import { release } from 'node:os';
import { gunzipSync } from 'node:zlib';
import { bad, type DoctorCheck, type DoctorOutcome, ok } from './check.ts';

const GiB = 2 ** 30;
const inGiB = (bytes: number): string => `${(bytes / GiB).toFixed(1)} GiB`;

/** A node image takes about 0.7 GB, three times that while it is built and loaded. A cluster writes as much again. */
const disk: DoctorCheck = {
  id: 'disk',
  title: 'free disk',
  async run({ freeDisk, folder }) {
    const free = await freeDisk(folder);
    const found = `${inGiB(free)} at ${folder}`;
    const advice = '`kina cache prune` deletes data that no image uses; KINA_CACHE_DIR moves the store.';
    if (free < 3 * GiB) return bad('fail', found, advice);
    return free < 10 * GiB ? bad('warn', found, advice) : ok(found);
  },
};

const memory: DoctorCheck = {
  id: 'memory',
  title: 'memory',
  async run({ memory: ask }) {
    const { total, available } = await ask();
    const found = `${inGiB(available)} of ${inGiB(total)} available`;
    if (total < 2 * GiB)
      return bad('fail', found, 'A control plane needs more memory: use a machine with at least 4 GiB.');
    if (available < 2 * GiB)
      return bad(
        'warn',
        found,
        'Quit programs, or stop clusters that you do not use. A control plane needs 2 GiB, with pods 4 GiB.',
      );
    return ok(found);
  },
};

/** systemd and kubelet watch files; three nodes use up the default of 128 instances. */
const watches: DoctorCheck = {
  id: 'inotify',
  title: 'inotify limits',
  applies: ({ platform }) => platform === 'linux',
  async run({ readText }) {
    const limit = async (name: string): Promise<number | undefined> => {
      const text = await readText(`/proc/sys/fs/inotify/${name}`);
      return text === undefined ? undefined : Number(text);
    };
    const instances = await limit('max_user_instances');
    const each = await limit('max_user_watches');
    if (instances === undefined || each === undefined)
      return bad('unknown', 'cannot read the limits', 'Check that /proc is mounted.');
    const found = `${instances} instances, ${each} watches`;
    if (instances >= 512 && each >= 65_536) return ok(found);
    return bad(
      'warn',
      found,
      'To run several nodes: `sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288`.',
    );
  },
};

/** Options that nodes need, and options that some pod networks need. */
const needed = ['OVERLAY_FS', 'VETH', 'BRIDGE', 'NF_NAT', 'SECCOMP_FILTER', 'CGROUP_PIDS', 'CFS_BANDWIDTH'] as const;
const either = ['NF_TABLES', 'IP_NF_IPTABLES', 'IP_NF_IPTABLES_LEGACY'] as const;
const wanted = ['BRIDGE_NETFILTER', 'VXLAN', 'DUMMY'] as const;

/** Checks the configuration of the kernel `name` for missing options. */
export function checkKernelConfig(config: string, name: string): DoctorOutcome {
  const has = (option: string) => new RegExp(`^CONFIG_${option}=[ym]$`, 'm').test(config);
  const missing = needed.filter((option) => !has(option)).map(String);
  if (!either.some(has)) missing.push(either[0]);
  if (missing.length > 0)
    return bad('fail', `${name} lacks ${missing.join(', ')}`, 'Use another kernel: nodes need these options.');
  const optional = wanted.filter((option) => !has(option));
  if (optional.length === 0) return ok(`${name} has all required features`);
  return bad(
    'warn',
    `${name} lacks ${optional.join(', ')}`,
    'Only some pod networks, and kube-proxy in ipvs mode, need these options; the defaults of kina do not.',
  );
}

/** Decompresses /proc/config.gz. */
function inflate(text: string): string {
  const bytes = Buffer.from(text, 'latin1');
  return bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes).toString('utf8') : text;
}

const kernel: DoctorCheck = {
  id: 'kernel',
  title: 'kernel features',
  applies: ({ platform }) => platform === 'linux',
  async run({ readText }) {
    const version = release();
    for (const path of ['/proc/config.gz', `/boot/config-${version}`, `/lib/modules/${version}/config`]) {
      const text = await readText(path);
      if (text !== undefined) return checkKernelConfig(inflate(text), `Linux ${version}`);
    }
    // Some distributions hide the configuration, and nearly all of their kernels work: not a reason for a warning.
    const systems = await readText('/proc/filesystems');
    if (systems && /\boverlay$/m.test(systems))
      return ok(`Linux ${version} has overlayfs; its configuration is not readable`);
    return bad(
      'unknown',
      `the configuration of Linux ${version} is not readable`,
      'Try `modprobe overlay`, then `kina create cluster`.',
    );
  },
};

export const machineChecks: readonly DoctorCheck[] = [disk, memory, watches, kernel];
