/**
 * Joins the other nodes. Control planes join one after the other, because etcd accepts one new member at a time. Workers
 * join at the same time.
 *
 * A joining node verifies the CA of the cluster by its hash (`caCertHashes` of kubeadm), so another host on the network
 * cannot impersonate the API server.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { namePeers, renewWatches } from '../etcd.ts';
import { kubeadmFlags } from '../kubeadm/documents.ts';
import type { Node } from '../node.ts';
import { controlPlanes, firstControlPlane, type RunningCluster, workers } from './context.ts';
import { kubeadmFailure, kubeadmTimeout } from './init.ts';
import { writeKubeadmConfig } from './kubeadm-config.ts';

/** Files that all control planes share; kubeadm creates the others on each node. */
const sharedFiles = [
  ...['ca', 'front-proxy-ca', 'etcd/ca'].flatMap((name) => [`pki/${name}.crt`, `pki/${name}.key`]),
  'pki/sa.pub',
  'pki/sa.key',
  'admin.conf',
];

/** `sha256:HEX` of the public key, the form of kubeadm's token-based discovery with CA pinning. */
export function caCertHash(pem: string): string {
  const key = new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' });
  return `sha256:${createHash('sha256').update(key).digest('hex')}`;
}

/** A random bootstrap token. kubeadm lets it expire after a day. */
export function bootstrapToken(random: (bytes: number) => Buffer): string {
  // 32 characters: each random byte picks one without bias
  const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';
  const letters = (count: number): string => [...random(count)].map((byte) => alphabet[byte % 32]).join('');
  return `${letters(6)}.${letters(16)}`;
}

export async function joinControlPlanes(context: RunningCluster, say: (note: string) => void): Promise<void> {
  const [first, ...others] = controlPlanes(context);
  const [hash, keys] = await Promise.all([readCaHash(context), readSharedKeys(first!)]);
  for (const node of others) {
    say(node.name);
    await node.shell('umask 077 && mkdir -p /etc/kubernetes && base64 -d | tar -C /etc/kubernetes -xp', [], {
      input: keys,
    });
    await join(context, node, hash);
  }
  await namePeers(first!);
  await renewWatches(first!, context.kubernetes, context.signal);
}

export async function joinWorkers(context: RunningCluster): Promise<void> {
  const hash = await readCaHash(context);
  const joins = workers(context).map((node) => join(context, node, hash));
  await Promise.allSettled(joins);
  await Promise.all(joins);
}

async function readCaHash(context: RunningCluster): Promise<string> {
  return caCertHash(await firstControlPlane(context).readFile('/etc/kubernetes/pki/ca.crt'));
}

/** A tar of the shared files in base64, because the output of a command is text. */
function readSharedKeys(node: Node): Promise<string> {
  return node.shell(`tar -C /etc/kubernetes -c ${sharedFiles.join(' ')} | base64 -w0`);
}

async function join(context: RunningCluster, node: Node, caHash: string): Promise<void> {
  await writeKubeadmConfig(context, node, [caHash]);
  const flags = kubeadmFlags({
    cluster: context.cluster,
    node: context.cluster.nodes.find(({ name }) => name === node.name)!,
    kubernetes: context.kubernetes,
  });
  const argv = ['kubeadm', 'join', '--config=/kind/kubeadm.conf', '--v=6', ...flags.join];
  const result = await node.exec(argv, { signal: context.signal, timeout: kubeadmTimeout });
  context.steps.debug(3, result.stdout + result.stderr);
  if (result.code !== 0) throw await kubeadmFailure(node, argv, result);
}
