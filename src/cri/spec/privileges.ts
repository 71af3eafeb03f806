/** Capabilities, system call filters and hidden paths of a container. */
import { readFile } from 'node:fs/promises';
import { type Architecture, hostPlatform } from '../../oci/platform.ts';
import type { Capability, LinuxContainerSecurityContext } from '../api/messages.ts';
import { invalid, RpcError, unsupported } from '../api/status.ts';

/** The default capabilities of a container: docker, containerd and CRI-O share this list. */
const usual = [
  'CHOWN',
  'DAC_OVERRIDE',
  'FSETID',
  'FOWNER',
  'MKNOD',
  'NET_RAW',
  'SETGID',
  'SETUID',
  'SETFCAP',
  'SETPCAP',
  'NET_BIND_SERVICE',
  'SYS_CHROOT',
  'KILL',
  'AUDIT_WRITE',
].map((name) => `CAP_${name}`);

/** linux/capability.h; a sandbox may have fewer. */
const known = new Set([
  'CAP_ALL',
  ...usual,
  'CAP_DAC_READ_SEARCH',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_LEASE',
  'CAP_AUDIT_CONTROL',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
]);

const full = (name: string): string => {
  const upper = name.toUpperCase();
  return upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
};

/**
 * `capabilities` of an OCI process. `all`: the capabilities of the sandbox. ALL is added or dropped first, then the
 * named ones. Unknown names are refused.
 */
export function capabilities(wish: Capability | null, privileged: boolean, all: readonly string[]) {
  const add = (wish?.addCapabilities ?? []).map(full);
  const drop = (wish?.dropCapabilities ?? []).map(full);
  const ambient = (wish?.addAmbientCapabilities ?? []).map(full);
  for (const name of [...add, ...drop, ...ambient])
    if (!known.has(name)) throw invalid(`${JSON.stringify(name)} is not a capability`);
  let have = new Set(privileged ? all : usual.filter((name) => all.includes(name)));
  if (add.includes('CAP_ALL')) have = new Set(all);
  if (drop.includes('CAP_ALL')) have = new Set();
  for (const name of [...add, ...ambient]) if (name !== 'CAP_ALL') have.add(name);
  for (const name of drop) have.delete(name);
  const list = [...have].sort();
  return { bounding: list, effective: list, permitted: list, inheritable: ambient, ambient };
}

/**
 * System calls that a container with the default filter cannot make, unless one of its capabilities allows
 * them. They act on the machine and not on the container (reasons: https://docs.docker.com/engine/security/seccomp/). The
 * machine belongs to the pod, so a deny list is sufficient.
 */
const refused: Readonly<Record<string, readonly string[]>> = {
  CAP_SYS_ADMIN: [
    'mount',
    'umount',
    'umount2',
    'mount_setattr',
    'move_mount',
    'open_tree',
    'fsconfig',
    'fsmount',
    'fsopen',
    'fspick',
    'pivot_root',
    'setns',
    'unshare',
    'sethostname',
    'setdomainname',
    'swapon',
    'swapoff',
    'quotactl',
    'quotactl_fd',
    'bpf',
    'fanotify_init',
    'lookup_dcookie',
    'perf_event_open',
    'syslog',
  ],
  CAP_SYS_BOOT: ['reboot', 'kexec_load', 'kexec_file_load'],
  CAP_SYS_MODULE: ['create_module', 'init_module', 'finit_module', 'delete_module'],
  CAP_SYS_TIME: ['settimeofday', 'stime', 'clock_settime', 'clock_settime64'],
  CAP_SYS_RAWIO: ['iopl', 'ioperm'],
  CAP_SYS_PACCT: ['acct'],
  CAP_SYS_NICE: ['move_pages', 'mbind', 'set_mempolicy', 'set_mempolicy_home_node'],
  CAP_SYS_TTY_CONFIG: ['vhangup'],
  CAP_DAC_READ_SEARCH: ['open_by_handle_at'],
  // no capability is enough for these
  '': ['add_key', 'request_key', 'keyctl', 'userfaultfd', 'nfsservctl', 'sysfs', '_sysctl', 'uselib', 'ustat'],
};

/**
 * The sandbox's architecture, and others whose programs its kernel also runs. libseccomp kills a program that makes a system
 * call of any other architecture.
 */
const architectures: Readonly<Record<Architecture, readonly string[]>> = {
  amd64: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
  arm64: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
};

/** CLONE_NEW* but for time and cgroup namespaces' own bits: clone(2). */
const newNamespaces = 0x7e020000;

function defaultFilter(held: readonly string[]): object {
  const names = Object.entries(refused).flatMap(([capability, calls]) => (held.includes(capability) ? [] : calls));
  const clone = { names: ['clone'], action: 'SCMP_ACT_ERRNO', errnoRet: 1 };
  return {
    defaultAction: 'SCMP_ACT_ALLOW',
    architectures: architectures[hostPlatform().architecture],
    syscalls: [
      { names, action: 'SCMP_ACT_ERRNO', errnoRet: 1 },
      // clone3 hides its flags from a filter: programs fall back to clone when there is none (ENOSYS)
      ...(held.includes('CAP_SYS_ADMIN')
        ? []
        : [
            { names: ['clone3'], action: 'SCMP_ACT_ERRNO', errnoRet: 38 },
            ...Array.from({ length: 32 }, (_, bit) => 2 ** bit)
              .filter((flag) => (newNamespaces & flag) !== 0)
              .map((flag) => ({
                ...clone,
                args: [{ index: 0, value: flag, valueTwo: flag, op: 'SCMP_CMP_MASKED_EQ' }],
              })),
          ]),
    ],
  };
}

/** `linux.seccomp` of an OCI configuration; undefined: no filter. A profile on the host is read now and included. */
export async function seccomp(
  context: Pick<LinuxContainerSecurityContext, 'seccomp' | 'seccompProfilePath' | 'privileged'>,
  held: readonly string[],
): Promise<object | undefined> {
  const { type, path } = seccompWish(context);
  if (context.privileged || type === 'Unconfined') return undefined;
  if (type === 'RuntimeDefault') return defaultFilter(held);
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    const reason = (error as Error).message;
    throw new RpcError('FAILED_PRECONDITION', `the seccomp profile ${path} cannot be used: ${reason}`, {
      cause: error,
    });
  }
}

/** Kubelets below 1.19 to 1.24 have only the path: `runtime/default`, `docker/default`, `localhost/…`, or nothing. */
function seccompWish({
  seccomp: wish,
  seccompProfilePath: path,
}: Pick<LinuxContainerSecurityContext, 'seccomp' | 'seccompProfilePath'>): { type: string; path: string } {
  if (wish) return { type: wish.profileType, path: wish.localhostRef };
  if (path === 'runtime/default' || path === 'docker/default') return { type: 'RuntimeDefault', path: '' };
  if (path.startsWith('localhost/')) return { type: 'Localhost', path: path.slice('localhost/'.length) };
  if (path === '' || path === 'unconfined') return { type: 'Unconfined', path: '' };
  throw invalid(`${JSON.stringify(path)} is not a seccomp profile`);
}

/** The sandbox's kernel does not have the host's profiles, so the container is refused instead of running unconfined. */
export function refuseAppArmor({
  apparmor,
  apparmorProfile,
}: Pick<LinuxContainerSecurityContext, 'apparmor' | 'apparmorProfile'>): void {
  const named = apparmor?.profileType === 'Localhost' ? apparmor.localhostRef : apparmorProfile;
  if (named && !['runtime/default', 'unconfined'].includes(named))
    throw unsupported(`the AppArmor profile ${named}`, 'profiles are loaded into the host’s kernel, not the sandbox’s');
}
