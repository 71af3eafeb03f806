/**
 * The first node's pod range, ahead of time. The controller manager gives ranges out only ten seconds after its start (it
 * sleeps before it first lists nodes: kubernetes pkg/controller/nodeipam/ipam, `listNodes`), and the network's agent needs
 * a range, so a cluster would wait that long for its first Ready node. The first range is no secret: it is the first one
 * of the pod subnet. The node gets it from kina, and with it the CNI configuration that its agent is going to write,
 * by the same program (network.jq, which kina's node images hold).
 *
 * Only where nothing is guessed: IPv4 alone, and no patch that changes how ranges are cut.
 */

import { parseCidr } from '../config/cidr.ts';
import type { Cluster } from '../config/cluster.ts';
import { type CreateContext, firstControlPlane } from './context.ts';

/** What kube-controller-manager cuts out of an IPv4 subnet for each node, unless it is told otherwise. */
const rangeLength = 24;

/** `10.244.0.0/24`; undefined where it cannot be known. */
export function firstRange({ networking, ...cluster }: Cluster): string | undefined {
  const [subnet, ...others] = networking.podSubnets.map(parseCidr);
  const patches = [cluster, ...cluster.nodes].flatMap((one) => [one.kubeadmPatches, one.kubeadmPatches6902]);
  const cut = /node-cidr-mask-size|cluster-cidr|allocate-node-cidrs|podSubnet/.test(JSON.stringify(patches));
  if (!subnet || others.length > 0 || subnet.family !== 'ipv4' || subnet.prefix > rangeLength || cut) return undefined;
  const bytes = [24n, 16n, 8n, 0n].map((shift) => (subnet.first >> shift) & 255n);
  return `${bytes.join('.')}/${rangeLength}`;
}

// In one step, under a name that no runtime reads before: a half-written file would be the network of some pod.
const script = `
library=/usr/local/lib/kina
[ -r "$library/network.jq" ] || exit 0
folder=/etc/cni/net.d
export NODE_NAME="$1"
mtu=$(cat /sys/class/net/eth0/mtu) || mtu=null
jq --null-input -L "$library" --arg range "$2" --argjson mtu "$mtu" \\
  'include "network"; [{ name: $ENV.NODE_NAME, ranges: [$range], addresses: [] }] | conflist($mtu)' >"$folder/10-kina.conflist.new"
mv "$folder/10-kina.conflist.new" "$folder/10-kina.conflist"
`;

/** Writes the CNI configuration of the first control plane; for kina's own network, and images that bring it. */
export async function configureFirstNetwork(context: CreateContext): Promise<void> {
  const range = firstRange(context.cluster);
  if (!range || context.cluster.networking.cni !== 'default') return;
  const node = firstControlPlane(context);
  await node.shell(script, [node.name, range]);
}
