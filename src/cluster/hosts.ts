/**
 * Names of all nodes in every node's /etc/hosts. Not every runtime has name resolution between nodes, and addresses change
 * at every start, so kina writes them at creation and after each start, on every runtime alike. Runtimes rewrite the file
 * at a node's start; lines of others are kept.
 */
import type { NodeStatus } from '../provider/provider.ts';
import type { Node } from './node.ts';

// In place: the file is a mount, and a rename would fail. The whole goes through a variable, so that nobody reads half.
const script = String.raw`
kept=$(grep -v '# kina$' /etc/hosts)
printf '%s\n%s\n' "$kept" "$1" >/etc/hosts
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
