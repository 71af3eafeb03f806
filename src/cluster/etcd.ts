/**
 * etcd's members of a cluster with several control planes know each other by address, and addresses change at every start:
 * then no two of them find each other, and there is no quorum that could be told the new ones. So they are introduced by
 * name, once, as soon as all are there; names resolve on every node.
 */
import type { Node } from './node.ts';

/** The port on which members talk to each other. */
const peerPort = 2380;

interface Members {
  /** Numbers beyond 2^53: read as text. */
  readonly members: readonly { readonly name: string; readonly peerURLs: readonly string[] }[];
}

const pki = '/etc/kubernetes/pki/etcd';

export async function namePeers(controlPlane: Node): Promise<void> {
  const etcdctl = (args: readonly string[]) =>
    controlPlane.kubectl([
      ...['--namespace=kube-system', 'exec', `etcd-${controlPlane.name}`, '--', 'etcdctl'],
      ...[`--cacert=${pki}/ca.crt`, `--cert=${pki}/server.crt`, `--key=${pki}/server.key`, ...args],
    ]);
  const listed = await etcdctl(['member', 'list', '--write-out=json']);
  const ids = [...listed.matchAll(/"ID":(\d+)/g)].map((match) => BigInt(match[1]!).toString(16));
  const { members } = JSON.parse(listed) as Members;
  for (const [i, { name, peerURLs }] of members.entries()) {
    const url = `https://${name}:${peerPort}`;
    if (peerURLs.length === 1 && peerURLs[0] === url) continue;
    await etcdctl(['member', 'update', ids[i]!, `--peer-urls=${url}`]);
  }
}
