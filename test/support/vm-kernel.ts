/**
 * A kernel for test machines: Debian's, because a node image brings none and CI has none for the other architecture.
 * The package is unpacked, not installed. With it goes a first root of a few megabytes: a static busybox, the modules
 * that containers and Kubernetes need, in an order in which they load, and `vm/`. Packages are kept in the test cache
 * under their SHA-256.
 *
 * Modules come from here because a node image must not carry any: Apple's kernel has everything built in, and on docker
 * and podman the host's are used.
 */

import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { defaultBases } from '../../src/debian/archive.ts';
import { atomicWrite } from '../../src/host/files.ts';
import { check } from './command.ts';
import { type CpioEntry, cpio, cpioDirectory, cpioFile, cpioLink } from './cpio.ts';

export type Architecture = 'amd64' | 'arm64';

export interface Kernel {
  /** What `qemu -kernel` takes. */
  readonly kernel: string;
  /** What `qemu -initrd` takes. */
  readonly initramfs: string;
  /** The package's version, for logs. */
  readonly version: string;
}

/** What tests fetch once: `KINA_TEST_CACHE`, else a folder in the temporary folder. */
export const testCache = process.env.KINA_TEST_CACHE ?? join(tmpdir(), 'kina-test-cache');

/** The Debian mirror of the test machine, found as kina finds it. */
export const debianMirror = (await defaultBases()).debian!;

const suite = 'trixie';

/** Loaded before init: nothing in the machine can load a module later, as the image has no /lib/modules. */
const modules = [
  ...['virtio_pci', 'virtio_blk', 'virtio_net', 'virtio_console', 'ext4', 'overlay', 'fuse', 'autofs4', 'loop'],
  ...['bridge', 'br_netfilter', 'veth', 'tun', 'vxlan', 'nf_conntrack', 'nf_conntrack_netlink'],
  ...['nf_tables', 'nft_compat', 'nft_chain_nat', 'nft_ct', 'nft_nat', 'nft_masq', 'nft_redir', 'nft_reject_inet'],
  ...['nft_limit', 'nft_log', 'nft_hash', 'nft_numgen', 'nft_fib_inet', 'nft_objref'],
  ...['ip_tables', 'iptable_filter', 'iptable_nat', 'iptable_mangle', 'iptable_raw', 'ipt_REJECT'],
  ...['ip6_tables', 'ip6table_filter', 'ip6table_nat', 'ip6table_mangle', 'ip6table_raw', 'ip6t_REJECT'],
  ...['xt_addrtype', 'xt_comment', 'xt_conntrack', 'xt_limit', 'xt_LOG', 'xt_mark', 'xt_MASQUERADE', 'xt_multiport'],
  ...['xt_nat', 'xt_nfacct', 'xt_physdev', 'xt_recent', 'xt_REDIRECT', 'xt_set', 'xt_statistic', 'xt_tcpudp'],
  ...['ip_set', 'ip_set_hash_ip', 'ip_set_hash_net', 'ip_set_hash_ipport', 'sch_htb', 'sch_ingress'],
];

/** Fetches what a machine starts with and writes its initramfs into `folder`. */
export async function prepareKernel(architecture: Architecture, folder: string): Promise<Kernel> {
  const packages = await packageIndex(architecture);
  const meta = packages.find((one) => one.Package === `linux-image-cloud-${architecture}`);
  const name = /linux-image-\d[^ ,]*/.exec(meta?.Depends ?? '')?.[0];
  const kernel = await unpackedPackage(packages, name);
  const busybox = await unpackedPackage(packages, 'busybox-static');
  const image = (await readdir(join(kernel.folder, 'boot'))).find((file) => file.startsWith('vmlinuz-'));
  if (!image) throw new Error(`${name} holds no kernel`);
  const initramfs = join(folder, 'initramfs.gz');
  const program = await readFile(join(busybox.folder, 'usr/bin/busybox')).catch(() =>
    readFile(join(busybox.folder, 'bin/busybox')),
  );
  await writeFile(initramfs, await firstRoot(program, await loadOrder(kernel.folder)));
  return { kernel: join(kernel.folder, 'boot', image), initramfs, version: kernel.version };
}

async function firstRoot(busybox: Buffer, ordered: readonly Module[]): Promise<Buffer> {
  const folder = join(import.meta.dirname, 'vm');
  const agent: CpioEntry[] = [];
  for (const name of ['agent.sh', 'vm-agent.service'])
    agent.push(cpioFile(`agent/${name}`, await readFile(join(folder, name))));
  const archive = cpio([
    ...['agent', 'bin', 'dev', 'modules', 'proc', 'root', 'run', 'sys'].map(cpioDirectory),
    cpioFile('bin/busybox', busybox, true),
    cpioLink('bin/sh', 'busybox'),
    cpioFile('init', await readFile(join(folder, 'init.sh')), true),
    ...agent,
    cpioFile('modules/order', ordered.map((module) => `${module.name}\n`).join('')),
    ...ordered.map((module) => cpioFile(`modules/${module.name}.ko`, module.data)),
  ]);
  return gzipSync(archive, { level: 1 });
}

interface Module {
  readonly name: string;
  readonly data: Buffer;
}

/**
 * The modules and what they need, needs first. A package that was not installed has no modules.dep: the needs are read
 * from the modules themselves (`depends=a,b` in the section .modinfo). What is built in or unknown is left out.
 */
async function loadOrder(folder: string): Promise<Module[]> {
  const listed = await readdir(join(folder, 'usr/lib/modules'), { recursive: true });
  const paths = new Map(
    listed.filter((file) => /\.ko(\.xz)?$/.test(file)).map((file) => [basename(file).replace(/\.ko.*/, ''), file]),
  );
  const ordered = new Map<string, Module>();
  const add = async (name: string) => {
    const path = paths.get(name);
    if (!path || ordered.has(name)) return;
    const file = join(folder, 'usr/lib/modules', path);
    if (file.endsWith('.xz')) await check(['xz', '-d', file]);
    const data = await readFile(file.replace(/\.xz$/, ''));
    paths.set(name, path.replace(/\.xz$/, ''));
    const depends = /\0depends=([^\0]*)\0/.exec(data.toString('latin1'))?.[1] ?? '';
    for (const needed of depends.split(',').filter(Boolean)) await add(needed);
    ordered.set(name, { name, data });
  };
  for (const name of modules) await add(name);
  return [...ordered.values()];
}

type Stanza = Readonly<Record<string, string>>;

async function packageIndex(architecture: Architecture): Promise<Stanza[]> {
  const file = join(testCache, `Packages-${suite}-${architecture}.xz`);
  await mkdir(testCache, { recursive: true });
  const url = `${debianMirror}/dists/${suite}/main/binary-${architecture}/Packages.xz`;
  const age = Date.now() - ((await stat(file).catch(() => undefined))?.mtimeMs ?? 0);
  if (age > 86_400_000) await atomicWrite(file, await download(url));
  const text = await check(['xz', '-dc', file]);
  return text.split('\n\n').flatMap((block) => {
    if (!/^Package: (linux-image-.*cloud|busybox-static)/.test(block)) return [];
    const fields = [...block.matchAll(/^([A-Za-z0-9-]+): (.*)$/gm)].map((match) => [match[1]!, match[2]!] as const);
    return [Object.fromEntries(fields)];
  });
}

/** Fetches one package and unpacks it, once per version. */
async function unpackedPackage(packages: readonly Stanza[], name = '(none)') {
  const found = packages.find((one) => one.Package === name);
  if (!found?.Filename) throw new Error(`Debian's ${suite} has no package ${name}`);
  const version = found.Version ?? '';
  const folder = join(testCache, `${name}-${found.SHA256}`);
  if (existsSync(folder)) return { folder, version };
  const data = await download(`${debianMirror}/${found.Filename}`);
  const digest = createHash('sha256').update(data).digest('hex');
  if (digest !== found.SHA256) throw new Error(`${found.Filename} has SHA-256 ${digest}, not ${found.SHA256}`);
  const unpacked = `${folder}.${process.pid}`;
  await mkdir(unpacked, { recursive: true });
  await writeFile(`${unpacked}.deb`, data);
  await check(['sh', '-c', 'bsdtar -xOf "$1.deb" "data.tar.*" | bsdtar -xf - -C "$1"', 'sh', unpacked]);
  await rm(`${unpacked}.deb`);
  await rename(unpacked, folder);
  return { folder, version };
}

async function download(url: string): Promise<Buffer> {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: HTTP ${response.status}`);
  return Buffer.from(await response.arrayBuffer());
}
