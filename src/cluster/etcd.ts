/**
 * etcd's members of a cluster with several control planes know each other by address, and addresses change at every start:
 * then no two of them find each other, and there is no quorum that could be told the new ones. So they are introduced by
 * name, once, as soon as all are there; names resolve on every node.
 */
import { versionAtLeast } from '../oci/node-conventions.ts';
import { apiServerPort } from './names.ts';
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
      '--namespace=kube-system',
      'exec',
      `etcd-${controlPlane.name}`,
      '--',
      'etcdctl',
      `--cacert=${pki}/ca.crt`,
      `--cert=${pki}/server.crt`,
      `--key=${pki}/server.key`,
      ...args,
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

/**
 * Restarts the first control plane's API server, once all members are there. While its etcd waits for a second member it
 * has no leader, and then some watches through this API server stay open and silent for ever (seen with v1.20.2: no
 * Service gets endpoints). Learner mode, on by default from 1.29, adds members without losing the leader.
 */
export async function renewWatches(controlPlane: Node, kubernetes: string, signal: AbortSignal): Promise<void> {
  if (versionAtLeast(kubernetes, '1.29.0')) return;
  await controlPlane.shell(restart, [String(apiServerPort)], { signal, timeout: 180_000 });
}

// Not asked to end: it would wait up to a minute for those very watches, and it keeps nothing that could be lost.
const restart = `
pkill -KILL -x kube-apiserver || exit 0
sleep 1
until curl --silent --fail --insecure --max-time 2 --output /dev/null "https://localhost:$1/readyz"; do sleep 0.5; done
`;
