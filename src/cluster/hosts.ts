/**
 * Names of all nodes in every node's /etc/hosts. Not every runtime has name resolution between nodes, and addresses change
 * at every start, so kina writes them at creation and after each start, on every runtime alike. Runtimes rewrite the file
 * at a node's start; lines of others are kept.
 *
 * Pods on the node's network (etcd, the API server, kube-proxy) have a copy of the file, which kubelet makes when it
 * starts their containers. After a start of the node that is before the new names are known, and would stay so until
 * the containers' next start: so the copies are written too, in place, where running containers see it.
 */
import type { NodeStatus } from '../provider/provider.ts';
import type { Node } from './node.ts';

// In place: the file is a mount, and a rename would fail. The whole goes through a variable, so that nobody reads half.
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
      // its own name comes from the runtime, with the address that the node's entrypoint has looked at
      const others = statuses.filter((status) => status.name !== node.name);
      const lines = others.flatMap(({ name, ipv4, ipv6 }) =>
        [ipv4, ipv6].filter((one) => one !== undefined).map((address) => `${address}\t${name} # kina`),
      );
      return lines.length > 0 ? node.shell(script, [lines.join('\n')]) : undefined;
    }),
  );
}
