/**
 * Assigns the pod range of the first node early. The controller manager assigns ranges only ten seconds after its start
 * (it sleeps before it first lists nodes: kubernetes pkg/controller/nodeipam/ipam, `listNodes`), and the agent of the pod
 * network needs a range, so the first node would take that long to become Ready. The first range is known: it is the
 * first one of the pod subnet. kina sets it on the node and writes the CNI configuration that the agent will write, with
 * the same program (network.jq in kina's node images).
 *
 * This is done only where the range is certain: IPv4 only, and no patch that changes the allocation.
 */

import { parseCidr } from '../config/cidr.ts';
import type { Cluster } from '../config/cluster.ts';
import { firstControlPlane, type RunningCluster } from './context.ts';

/** Default of `--node-cidr-mask-size` of kube-controller-manager for IPv4. */
const rangeLength = 24;

/** `10.244.0.0/24`; undefined where it is not certain. */
export function firstRange({ networking, ...cluster }: Cluster): string | undefined {
  const [subnet, ...others] = networking.podSubnets.map(parseCidr);
  const patches = [cluster, ...cluster.nodes].flatMap((one) => [one.kubeadmPatches, one.kubeadmPatches6902]);
  const customAllocation = /node-cidr-mask-size|cluster-cidr|allocate-node-cidrs|podSubnet/.test(
    JSON.stringify(patches),
  );
  if (!subnet || others.length > 0 || subnet.family !== 'ipv4' || subnet.prefix > rangeLength || customAllocation)
    return undefined;
  const bytes = [24n, 16n, 8n, 0n].map((shift) => (subnet.first >> shift) & 255n);
  return `${bytes.join('.')}/${rangeLength}`;
}

// Renamed into place: containerd must not read a half-written file.
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

/** Writes the CNI configuration of the first control plane, for kina's own network and images that contain it. */
export async function configureFirstNetwork(context: RunningCluster): Promise<void> {
  const range = firstRange(context.cluster);
  if (!range || context.cluster.networking.cni !== 'default') return;
  const node = firstControlPlane(context);
  await node.shell(script, [node.name, range]);
}
