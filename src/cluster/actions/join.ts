/**
 * The other nodes join: control planes one after the other, because etcd takes one new member at a time, and workers all
 * at once.
 *
 * A joining node learns the cluster's CA by its hash (kubeadm's `caCertHashes`), so nobody on the network can pose as
 * the API server.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { kubeadmFlags } from '../kubeadm/documents.ts';
import type { Node } from '../node.ts';
import { type CreateContext, firstControlPlane } from './context.ts';
import { kubeadmFailure } from './init.ts';

/** What all control planes share; kubeadm makes the rest anew on each. */
const sharedFiles = [
  ...['ca', 'front-proxy-ca', 'etcd/ca'].flatMap((name) => [`pki/${name}.crt`, `pki/${name}.key`]),
  'pki/sa.pub',
  'pki/sa.key',
  'admin.conf',
];

/** `sha256:HEX` over the public key, as kubeadm's discovery wants it (kubeadm, "token-based discovery with CA pinning"). */
export function caCertHash(pem: string): string {
  const key = new X509Certificate(pem).publicKey.export({ type: 'spki', format: 'der' });
  return `sha256:${createHash('sha256').update(key).digest('hex')}`;
}

/** A bootstrap token that nobody can guess; kubeadm lets it expire after a day. */
export function bootstrapToken(random: (bytes: number) => Buffer): string {
  // 32 characters, so that every byte picks one without bias
  const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';
  const letters = (count: number): string => [...random(count)].map((byte) => alphabet[byte % 32]).join('');
  return `${letters(6)}.${letters(16)}`;
}

/** The shared keys and certificates as a tar, for the other control planes. Read once. */
export function readSharedKeys(context: CreateContext): Promise<string> {
  // base64, because what a command prints is text
  const script = `tar -C /etc/kubernetes -c ${sharedFiles.join(' ')} | base64 -w0`;
  return firstControlPlane(context).shell(script);
}

export async function joinControlPlane(context: CreateContext, node: Node, keys: string): Promise<void> {
  await node.shell('umask 077 && mkdir -p /etc/kubernetes && base64 -d | tar -C /etc/kubernetes -xp', [], {
    input: keys,
  });
  await join(context, node);
}

export async function join(context: CreateContext, node: Node): Promise<void> {
  const flags = kubeadmFlags({
    cluster: context.cluster,
    node: context.cluster.nodes.find(({ name }) => name === node.name)!,
    kubernetes: context.kubernetes,
  });
  const argv = ['kubeadm', 'join', '--config=/kind/kubeadm.conf', '--v=6', ...flags.join];
  const result = await node.exec(argv, { signal: context.signal, timeout: 600_000 });
  context.steps.debug(3, result.stdout + result.stderr);
  if (result.code !== 0) throw await kubeadmFailure(node, argv, result);
}
