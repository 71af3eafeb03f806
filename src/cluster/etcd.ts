/**
 * etcd members know their peers by address, and addresses change at every start of the nodes. Then no member finds another,
 * and without a quorum the new addresses cannot be set. So the peer URLs are changed to names, once, when all members have
 * joined; the names resolve on every node.
 */
import { versionAtLeast } from '../oci/node-conventions.ts';
import { apiServerPort } from './names.ts';
import type { Node } from './node.ts';

/** Port for the traffic between members. */
const peerPort = 2380;

interface Members {
  /** IDs are above 2^53 and read from the text instead. */
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
 * Restarts the API server of the first control plane when all members have joined. While etcd waits for its second member
 * it has no leader, and some watches through this API server then stay open without events (v1.20.2: Services get no
 * endpoints). Learner mode, the default since 1.29, adds members without losing the leader.
 */
export async function renewWatches(controlPlane: Node, kubernetes: string, signal: AbortSignal): Promise<void> {
  if (versionAtLeast(kubernetes, '1.29.0')) return;
  await controlPlane.shell(restart, [String(apiServerPort)], { signal, timeout: 180_000 });
}

// SIGKILL: on SIGTERM it would wait up to a minute for these watches. It has no state to lose.
const restart = `
pkill -KILL -x kube-apiserver || exit 0
sleep 1
until curl --silent --fail --insecure --max-time 2 --output /dev/null "https://localhost:$1/readyz"; do sleep 0.5; done
`;
