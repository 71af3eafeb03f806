/**
 * Writes the names of all nodes to /etc/hosts of every node. Some runtimes have no name resolution between nodes, and
 * addresses change at every start, so kina writes the names at creation and after each start, on every runtime. Runtimes
 * rewrite the file when a node starts; other lines are kept.
 *
 * Pods on the network of the node (etcd, the API server, kube-proxy) have a copy of the file, which kubelet writes when it
 * starts their containers. After a restart of the node that happens before the new addresses are known. kina therefore
 * also updates the copies in place, so that running containers see the change.
 */
import type { NodeStatus } from '../provider/provider.ts';
import type { Node } from './node.ts';

// In place, because the file is a mount and a rename would fail; in one write, so that no program reads half of it.
const script = String.raw`
kept=$(grep -v '# kina$' /etc/hosts)
printf '%s\n%s\n' "$kept" "$1" >/etc/hosts
for copy in /var/lib/kubelet/pods/*/etc-hosts; do
  first=$(head -n 1 "$copy" 2>/dev/null)
  case $first in *'(host network)'*) ;; *) continue ;; esac
  printf '%s\n%s\n%s\n' "$first" "$kept" "$1" >"$copy"
done
`;

export async function writeHosts(nodes: readonly Node[], statuses: readonly NodeStatus[]): Promise<void> {
  await Promise.all(
    nodes.map((node) => {
      // the runtime writes the name of the node itself, and the entrypoint has read that address
      const others = statuses.filter((status) => status.name !== node.name);
      const lines = others.flatMap(({ name, ipv4, ipv6 }) =>
        [ipv4, ipv6].filter((one) => one !== undefined).map((address) => `${address}\t${name} # kina`),
      );
      return lines.length > 0 ? node.shell(script, [lines.join('\n')]) : undefined;
    }),
  );
}
