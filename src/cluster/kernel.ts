/**
 * Checks whether the kernel of the nodes has the features that the configuration needs. The kernel is known only when a
 * node runs: it is that of the host, or of the virtual machine. The defaults work on every known kernel and are not
 * checked.
 */
import { readFile } from 'node:fs/promises';
import { KinaError } from '../host/errors.ts';
import type { Cluster } from './config/model.ts';
import type { Node } from './node.ts';

interface Requirement {
  /** The setting or program that needs the options. */
  readonly what: string;
  /** Options of the kernel without `CONFIG_`, built in or as a module. */
  readonly options: readonly string[];
  /** What else to use. */
  readonly alternative: string;
}

const modes: Readonly<Partial<Record<Cluster['networking']['kubeProxyMode'], Requirement>>> = {
  ipvs: {
    what: 'kubeProxyMode: ipvs',
    options: ['IP_VS', 'IP_VS_RR', 'IP_VS_NFCT', 'DUMMY'],
    alternative: 'kubeProxyMode: iptables works on every kernel',
  },
  nftables: {
    what: 'kubeProxyMode: nftables',
    options: ['NF_TABLES', 'NFT_FIB', 'NFT_NUMGEN', 'NFT_NAT', 'NFT_MASQ'],
    alternative: 'kubeProxyMode: iptables works on every kernel',
  },
};

/** Pod networks, recognized by their manifest. */
const networks: readonly (Requirement & { readonly manifest: RegExp })[] = [
  {
    what: 'Cilium',
    manifest: /\bcilium\b/i,
    options: ['BPF_JIT', 'NET_CLS_BPF', 'NET_ACT_BPF', 'NET_SCH_INGRESS'],
    alternative: 'the default network does not need these options',
  },
];

async function requirementsOf({ networking }: Cluster): Promise<Requirement[]> {
  const mode = modes[networking.kubeProxyMode];
  const manifest = typeof networking.cni === 'object' ? await readFile(networking.cni.file, 'utf8') : '';
  return [...(mode ? [mode] : []), ...networks.filter((one) => one.manifest.test(manifest))];
}

const readConfig = 'uname -r; zcat /proc/config.gz 2>/dev/null || cat "/boot/config-$(uname -r)" 2>/dev/null || :';

/** Throws `cluster` for missing options. A kernel whose configuration is not readable passes. */
export async function checkKernels(cluster: Cluster, nodes: readonly Node[], signal?: AbortSignal): Promise<void> {
  const wanted = await requirementsOf(cluster);
  if (wanted.length === 0) return;
  const problems = await Promise.all(
    nodes.map(async (node) => {
      const [version = '', ...config] = (await node.shell(readConfig, [], { signal })).split('\n');
      const present = new Set(config.flatMap((line) => /^CONFIG_(\w+)=[ym]$/.exec(line)?.[1] ?? []));
      if (present.size === 0) return [];
      return wanted.flatMap(({ what, options }) => {
        const missing = options.filter((option) => !present.has(option));
        return missing.length > 0
          ? [`${node.name}: Linux ${version} lacks ${missing.join(', ')}, which ${what} needs`]
          : [];
      });
    }),
  );
  if (problems.flat().length === 0) return;
  throw new KinaError('cluster', 'the kernel of the nodes does not support the configuration', {
    details: problems.flat(),
    hint: `${wanted.map(({ alternative }) => alternative).join('; ')}. Or use a kernel with these options (\`kernel\` of a node, with Apple's container).`,
  });
}
