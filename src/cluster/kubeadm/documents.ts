/**
 * The content of /kind/kubeadm.conf: the configuration of kubeadm, kubelet and kube-proxy on one node.
 *
 * All five documents are built for every node, so that patches behave the same on each. JoinConfiguration is written only
 * with a token and CA hashes: a node never joins a cluster that it cannot verify. Joined nodes keep the other documents,
 * which kubeadm needs to renew certificates when an address changes.
 */
import { stringify } from 'yaml';
import { KinaError } from '../../host/errors.ts';
import { versionAtLeast } from '../../oci/node-conventions.ts';
import { isObject } from '../config/merge.ts';
import type { Cluster } from '../config/model.ts';
import { apiFor, type KubeadmApi, kubeadmApi, oldTimeout } from './api.ts';
import { componentGates, kubeletConfiguration, kubeProxyConfiguration } from './component-objects.ts';
import { clusterConfiguration, initConfiguration, joinConfiguration } from './kubeadm-objects.ts';
import type { KubeadmOptions } from './options.ts';
import { type KubeadmDocument, patchDocuments } from './patch.ts';

export type { KubeadmOptions } from './options.ts';

/** Throws `config` if this Kubernetes version does not support the configuration, or a patch does not apply. */
export function kubeadmDocuments(options: KubeadmOptions): string {
  const { documents, problems } = build(options);
  if (problems.length > 0) throw mismatch(problems);
  const joins = options.token !== undefined && options.caCertHashes !== undefined;
  return documents
    .filter(({ kind }) => joins || kind !== 'JoinConfiguration')
    .map((document) => stringify(document, { version: '1.1', lineWidth: 0, aliasDuplicateObjects: false }))
    .join('---\n');
}

/**
 * Applies every patch to the documents of every node for each Kubernetes version, with placeholders for values of the
 * running nodes. Throws one `config` with all problems.
 */
export function checkPatches(cluster: Cluster, kubernetesVersions: readonly string[]): void {
  const problems = kubernetesVersions.flatMap((kubernetes) =>
    cluster.nodes.flatMap((node) => build({ ...placeholders, cluster, node, kubernetes }).problems),
  );
  if (problems.length > 0) throw mismatch([...new Set(problems)]);
}

/** Flags of kubeadm, because v1beta2 has no `skipPhases`. */
export function kubeadmFlags(options: Pick<KubeadmOptions, 'cluster' | 'node' | 'kubernetes' | 'skipPhases'>): {
  readonly init: readonly string[];
  readonly join: readonly string[];
} {
  if (apiFor(options.cluster, options.node, options.kubernetes) !== 'v1beta2') return { init: [], join: [] };
  return { init: [`--skip-phases=${skippedPhases(options).join(',')}`], join: ['--skip-phases=preflight'] };
}

/** The addresses are for documentation (RFC 5737, RFC 3849). */
const placeholders = {
  endpoint: 'control-plane:6443',
  addresses: { ipv4: '192.0.2.1', ipv6: '2001:db8::1' },
  providerId: 'kina://provider/cluster/node',
  cgroupDriver: 'systemd',
  token: 'abcdef.0123456789abcdef',
  caCertHashes: [`sha256:${'0'.repeat(64)}`],
} as const;

function build(options: KubeadmOptions): { documents: KubeadmDocument[]; problems: string[] } {
  const { cluster, node, kubernetes } = options;
  const impossible = versionProblems(options);
  if (impossible.length > 0) return { documents: [], problems: impossible };
  const api = apiFor(cluster, node, kubernetes);
  const context = { ...options, api, gates: componentGates(options), skipPhases: skippedPhases(options) };
  const documents = [
    clusterConfiguration(context),
    initConfiguration(context),
    joinConfiguration(context),
    kubeletConfiguration(context),
    ...(cluster.networking.kubeProxyMode === 'none' ? [] : [kubeProxyConfiguration(context)]),
  ];
  const patched = patchDocuments(documents, [cluster, node], api);
  return { ...patched, problems: [...patched.problems, ...renamedFields(patched.documents, api, kubernetes)] };
}

/** preflight would pull images, and refuses swap and small machines; kind skips it too. */
function skippedPhases({ cluster, skipPhases = [] }: Pick<KubeadmOptions, 'cluster' | 'skipPhases'>): string[] {
  const proxy = cluster.networking.kubeProxyMode === 'none' ? ['addon/kube-proxy'] : [];
  return [...new Set(['preflight', ...proxy, ...skipPhases])];
}

/** Settings that this Kubernetes version does not support. */
function versionProblems({ cluster, kubernetes, rootless }: KubeadmOptions): string[] {
  const { kubeProxyMode } = cluster.networking;
  const problems: string[] = [];
  const before = (minimum: string) => !versionAtLeast(kubernetes, minimum);
  if (kubeProxyMode === 'nftables' && before('1.29.0'))
    problems.push(`kubeProxyMode: nftables needs Kubernetes 1.29, the image has ${kubernetes}`);
  else if (kubeProxyMode === 'nftables' && before('1.31.0') && cluster.featureGates.NFTablesProxyMode !== true)
    problems.push(`kubeProxyMode: nftables on ${kubernetes} needs featureGates: {NFTablesProxyMode: true}`);
  if (rootless && before('1.22.0')) problems.push(`rootless nodes need Kubernetes 1.22; the image has ${kubernetes}`);
  return problems;
}

function renamedFields(documents: readonly KubeadmDocument[], api: KubeadmApi, kubernetes: string): string[] {
  const apiServer = documents.find(({ kind }) => kind === 'ClusterConfiguration')?.apiServer;
  if (api !== 'v1beta4' || !isObject(apiServer) || !(oldTimeout in apiServer)) return [];
  return [
    `apiServer.${oldTimeout} does not exist in ${api}, which ${kubernetes} gets (newest: ${kubeadmApi(kubernetes)}); ` +
      'patch timeouts.controlPlaneComponentHealthCheck of InitConfiguration and JoinConfiguration instead',
  ];
}

function mismatch(problems: readonly string[]): KinaError {
  return new KinaError('config', 'the cluster configuration does not match the Kubernetes version', {
    details: problems,
    hint: 'Correct the configuration, or use another node image.',
  });
}
