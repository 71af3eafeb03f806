/** The machine itself: disk, memory, the limits and the kernel of a Linux host. */
import { release } from 'node:os';
import { gunzipSync } from 'node:zlib';
import { bad, type Check, ok } from './check.ts';

const GiB = 2 ** 30;
const inGiB = (bytes: number): string => `${(bytes / GiB).toFixed(1)} GiB`;

/** A node image is about 0.7 GB, three times while it is built and loaded; a cluster writes as much again. */
const disk: Check = {
  id: 'disk',
  title: 'free disk',
  async run({ freeDisk, folder }) {
    const free = await freeDisk(folder);
    const found = `${inGiB(free)} at ${folder}`;
    const advice = '`kina cache prune` frees what no image needs; KINA_CACHE_DIR places the store elsewhere.';
    if (free < 3 * GiB) return bad('fail', found, advice);
    return free < 10 * GiB ? bad('warn', found, advice) : ok(found);
  },
};

const memory: Check = {
  id: 'memory',
  title: 'memory',
  async run({ memory: ask }) {
    const { total, available } = await ask();
    const found = `${inGiB(available)} of ${inGiB(total)} available`;
    if (total < 2 * GiB) return bad('fail', found, 'A control plane does not fit: use a machine with at least 4 GiB.');
    if (available < 2 * GiB)
      return bad(
        'warn',
        found,
        'End something, or stop clusters that nobody uses: a control plane wants 2 GiB, with pods 4.',
      );
    return ok(found);
  },
};

/** systemd and kubelet watch files; the default of 128 instances is used up by three nodes. */
const watches: Check = {
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
    if (instances === undefined || each === undefined) return bad('unknown', 'not told', 'Is /proc mounted?');
    const found = `${instances} instances, ${each} watches`;
    if (instances >= 512 && each >= 65_536) return ok(found);
    return bad(
      'warn',
      found,
      'With several nodes: `sysctl fs.inotify.max_user_instances=512 fs.inotify.max_user_watches=524288`.',
    );
  },
};

/** What nodes cannot do without, and what some of their networks want. */
const needed = ['OVERLAY_FS', 'VETH', 'BRIDGE', 'NF_NAT', 'SECCOMP_FILTER', 'CGROUP_PIDS', 'CFS_BANDWIDTH'] as const;
const either = ['NF_TABLES', 'IP_NF_IPTABLES', 'IP_NF_IPTABLES_LEGACY'] as const;
const wanted = ['BRIDGE_NETFILTER', 'VXLAN', 'DUMMY'] as const;

/** What a kernel's configuration lacks, as an outcome; `of` names the kernel. */
export function judgeKernel(config: string, of: string) {
  const has = (option: string) => new RegExp(`^CONFIG_${option}=[ym]$`, 'm').test(config);
  const missing = needed.filter((option) => !has(option)).map(String);
  if (!either.some(has)) missing.push(either[0]);
  if (missing.length > 0)
    return bad('fail', `${of} lacks ${missing.join(', ')}`, 'Use another kernel: nodes cannot work without these.');
  const less = wanted.filter((option) => !has(option));
  if (less.length === 0) return ok(`${of} has what nodes and their networks use`);
  return bad(
    'warn',
    `${of} lacks ${less.join(', ')}`,
    'Only some pod networks, or kube-proxy in ipvs mode, want these; the default of kina does not.',
  );
}

/** `zcat /proc/config.gz` without a program. */
function inflate(text: string): string {
  const bytes = Buffer.from(text, 'latin1');
  return bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes).toString('utf8') : text;
}

const kernel: Check = {
  id: 'kernel',
  title: 'kernel features',
  applies: ({ platform }) => platform === 'linux',
  async run({ readText }) {
    const version = release();
    for (const path of ['/proc/config.gz', `/boot/config-${version}`, `/lib/modules/${version}/config`]) {
      const text = await readText(path);
      if (text !== undefined) return judgeKernel(inflate(text), `Linux ${version}`);
    }
    // Not every distribution shows its configuration, and nearly every kernel of one will do: no reason for an alarm.
    const systems = await readText('/proc/filesystems');
    if (systems && /\boverlay$/m.test(systems))
      return ok(`Linux ${version} has overlayfs; it does not show its configuration`);
    return bad(
      'unknown',
      `Linux ${version} does not show its configuration`,
      'Try `modprobe overlay`; a first `kina create cluster` tells.',
    );
  },
};

export const machineChecks: readonly Check[] = [disk, memory, watches, kernel];
