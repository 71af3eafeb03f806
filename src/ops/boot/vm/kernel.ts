/**
 * The kernel for the machine, from Debian, because a node image has none and a host has none for the other architecture.
 * Its initramfs has a few megabytes: a static busybox, the modules that containers and Kubernetes need in loading order,
 * and the scripts of `guest.ts`.
 *
 * The modules are not in the image because node images must not contain any: Apple's kernel has everything built in, and
 * docker and podman use the host's.
 */
import { writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Artifact } from '../../../artifacts/artifact.ts';
import { KinaError } from '../../../host/errors.ts';
import { type DebianFile, debianFiles, planDebianFiles } from '../../../layers/debian-files.ts';
import type { Architecture } from '../../../oci/platform.ts';
import type { Session } from '../../../session/session.ts';
import { cpio, cpioDirectory, cpioFile, cpioLink } from './cpio.ts';
import { agentScript, agentUnit, initScript, powerOffScript, startScript } from './guest.ts';

export interface Kernel {
  /** For `qemu -kernel`. */
  readonly kernel: string;
  /** For `qemu -initrd`. */
  readonly initramfs: string;
  /** Its release, e.g. `6.12.48+deb13-cloud-arm64`. */
  readonly release: string;
}

export interface Start {
  readonly hostname: string;
  /** The first process. */
  readonly argv: readonly string[];
  /** Its environment, `NAME=VALUE`. */
  readonly env: readonly string[];
  /** Modules to omit, with their dependents: simulates a different kernel. */
  readonly without?: readonly string[];
}

const suite = 'trixie';

/** Loaded before init: the machine cannot load modules later, because the image has no /lib/modules. */
const modules = [
  'virtio_pci',
  'virtio_blk',
  'virtio_net',
  'virtio_console',
  'ext4',
  'overlay',
  'fuse',
  'autofs4',
  'loop',
  'bridge',
  'br_netfilter',
  'veth',
  'tun',
  'vxlan',
  'nf_conntrack',
  'nf_conntrack_netlink',
  'nf_tables',
  'nft_compat',
  'nft_chain_nat',
  'nft_ct',
  'nft_nat',
  'nft_masq',
  'nft_redir',
  'nft_reject_inet',
  'nft_limit',
  'nft_log',
  'nft_hash',
  'nft_numgen',
  'nft_fib_inet',
  'nft_objref',
  'ip_tables',
  'iptable_filter',
  'iptable_nat',
  'iptable_mangle',
  'iptable_raw',
  'ipt_REJECT',
  'ip6_tables',
  'ip6table_filter',
  'ip6table_nat',
  'ip6table_mangle',
  'ip6table_raw',
  'ip6t_REJECT',
  'xt_addrtype',
  'xt_comment',
  'xt_conntrack',
  'xt_limit',
  'xt_LOG',
  'xt_mark',
  'xt_MASQUERADE',
  'xt_multiport',
  'xt_nat',
  'xt_nfacct',
  'xt_physdev',
  'xt_recent',
  'xt_REDIRECT',
  'xt_set',
  'xt_statistic',
  'xt_tcpudp',
  'ip_set',
  'ip_set_hash_ip',
  'ip_set_hash_net',
  'ip_set_hash_ipport',
  'sch_htb',
  'sch_ingress',
];

/** Fetches kernel and busybox and writes the boot files into `folder`. */
export async function prepareKernel(
  session: Session,
  architecture: Architecture,
  start: Start,
  folder: string,
): Promise<Kernel> {
  const files = await debianFiles(session, await kernelPackages(session, architecture));
  const image = files.find(({ path }) => path.startsWith('boot/vmlinuz-'));
  const busybox = files.find(({ path }) => path === 'usr/bin/busybox');
  if (!image || !busybox)
    throw new KinaError('debian', `Debian's ${suite} has no ${image ? 'busybox' : 'kernel'} where one is expected`);
  const kernel = join(folder, 'kernel');
  const initramfs = join(folder, 'initramfs');
  await writeFile(kernel, await image.read());
  await writeFile(initramfs, firstRoot(await busybox.read(), await loadOrder(files, start.without ?? []), start));
  return { kernel, initramfs, release: basename(image.path).slice('vmlinuz-'.length) };
}

/** How many days the chosen packages are used: the kernel of a boot test need not be the newest. */
const keptFor = 7;

/** Resolved once a week; without a network, the last choice is used. */
async function kernelPackages(session: Session, architecture: Architecture): Promise<readonly Artifact[]> {
  interface Choice {
    readonly at: number;
    readonly artifacts: readonly Artifact[];
  }
  const key = `${suite}-${architecture}`;
  const last = await session.store.getRecord<Choice>('boot-kernel', key);
  if (last && (session.offline || Date.now() - last.at < keptFor * 86_400_000)) return last.artifacts;
  const artifacts = await planDebianFiles(session, {
    suite,
    architecture,
    packages: [`linux-image-cloud-${architecture}`, 'busybox-static'],
    wanted: (name) => name === 'busybox-static' || /^linux-image-\d/.test(name),
  });
  await session.store.putRecord('boot-kernel', key, { at: Date.now(), artifacts } satisfies Choice);
  return artifacts;
}

/** Uncompressed: an emulated processor needs longer to decompress it than to read it from disk. */
function firstRoot(busybox: Buffer, ordered: readonly Module[], { hostname, argv, env }: Start): Buffer {
  return cpio([
    ...['agent', 'bin', 'dev', 'modules', 'proc', 'root', 'run', 'sys'].map(cpioDirectory),
    cpioFile('bin/busybox', busybox, true),
    cpioLink('bin/sh', 'busybox'),
    cpioFile('init', initScript, true),
    cpioFile('start', startScript(argv, env)),
    cpioFile('agent/name', `${hostname}\n`),
    cpioFile('agent/agent.sh', agentScript),
    cpioFile('agent/power-off', powerOffScript, true),
    cpioFile('agent/vm-agent.service', agentUnit),
    cpioFile('modules/order', ordered.map((module) => `${module.name}\n`).join('')),
    ...ordered.map((module) => cpioFile(`modules/${module.name}.ko`, module.data)),
  ]);
}

interface Module {
  readonly name: string;
  readonly data: Buffer;
}

/**
 * The modules and their dependencies, dependencies first. A package that is not installed has no modules.dep, so they are
 * read from the modules (`depends=a,b` in the section .modinfo). Built-in and unknown modules are skipped.
 */
async function loadOrder(files: readonly DebianFile[], without: readonly string[]): Promise<Module[]> {
  const known = new Map(files.map((file) => [/([^/]+)\.ko(\.xz)?$/.exec(file.path)?.[1], file]));
  const ordered = new Map<string, Module>();
  /** False for a module that is omitted, itself or because of a dependency. */
  const add = async (name: string): Promise<boolean> => {
    if (without.includes(name)) return false;
    const file = known.get(name);
    if (!file || ordered.has(name)) return true;
    const data = await file.read();
    const depends = /\0depends=([^\0]*)\0/.exec(data.toString('latin1'))?.[1] ?? '';
    for (const needed of depends.split(',').filter(Boolean)) if (!(await add(needed))) return false;
    ordered.set(name, { name, data });
    return true;
  };
  for (const name of modules) await add(name);
  return [...ordered.values()];
}
