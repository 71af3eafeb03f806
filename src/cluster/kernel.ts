/**
 * What a configuration wishes of the kernel that nodes boot, against what that kernel has. An image cannot change its
 * kernel, and which one it will meet is known only when a node runs: in a virtual machine it is the runtime's, whatever
 * its version promises. So it is asked there, and only when there is a wish; the defaults work on every kernel known.
 */
import { readFile } from 'node:fs/promises';
import { KinaError } from '../host/errors.ts';
import type { Cluster } from './config/model.ts';
import type { Node } from './node.ts';

interface Wish {
  /** As people would say it. */
  readonly what: string;
  /** Names of the kernel's configuration without `CONFIG_`; built in or a module. */
  readonly options: readonly string[];
  readonly instead: string;
}

const modes: Readonly<Partial<Record<Cluster['networking']['kubeProxyMode'], Wish>>> = {
  ipvs: {
    what: 'kubeProxyMode: ipvs',
    options: ['IP_VS', 'IP_VS_RR', 'IP_VS_NFCT', 'DUMMY'],
    instead: 'kubeProxyMode: iptables works everywhere',
  },
  nftables: {
    what: 'kubeProxyMode: nftables',
    options: ['NF_TABLES', 'NFT_FIB', 'NFT_NUMGEN', 'NFT_NAT', 'NFT_MASQ'],
    instead: 'kubeProxyMode: iptables works everywhere',
  },
};

/** Networks that are known by the manifest that `cni` names. */
const networks: readonly (Wish & { readonly manifest: RegExp })[] = [
  {
    what: 'Cilium',
    manifest: /\bcilium\b/i,
    options: ['BPF_JIT', 'NET_CLS_BPF', 'NET_ACT_BPF', 'NET_SCH_INGRESS'],
    instead: 'the default network needs none of it',
  },
];

async function wishes({ networking }: Cluster): Promise<Wish[]> {
  const mode = modes[networking.kubeProxyMode];
  const manifest = typeof networking.cni === 'object' ? await readFile(networking.cni.file, 'utf8') : '';
  return [...(mode ? [mode] : []), ...networks.filter((one) => one.manifest.test(manifest))];
}

const question = 'uname -r; zcat /proc/config.gz 2>/dev/null || cat "/boot/config-$(uname -r)" 2>/dev/null || :';

/** Throws `cluster` for a wish that a node's kernel cannot meet. A kernel that does not show what it has is believed. */
export async function checkKernels(cluster: Cluster, nodes: readonly Node[], signal?: AbortSignal): Promise<void> {
  const wanted = await wishes(cluster);
  if (wanted.length === 0) return;
  const problems = await Promise.all(
    nodes.map(async (node) => {
      const [version = '', ...config] = (await node.shell(question, [], { signal })).split('\n');
      const present = new Set(config.flatMap((line) => /^CONFIG_(\w+)=[ym]$/.exec(line)?.[1] ?? []));
      if (present.size === 0) return [];
      return wanted.flatMap(({ what, options }) => {
        const missing = options.filter((option) => !present.has(option));
        return missing.length > 0
          ? [`${node.name}: Linux ${version} has no ${missing.join(', ')}, which ${what} needs`]
          : [];
      });
    }),
  );
  if (problems.flat().length === 0) return;
  throw new KinaError('cluster', 'the kernel of the nodes lacks what the configuration asks for', {
    details: problems.flat(),
    hint: `${wanted.map(({ instead }) => instead).join('; ')}. Or use a kernel that has it (\`kernel\` of a node, on Apple's container).`,
  });
}
