/**
 * The text of /kind/kubeadm.conf: what kubeadm, kubelet and kube-proxy of one node are told. Built as objects, patched,
 * then written once.
 *
 * All five documents are built for every node, so that a patch is judged the same on each. JoinConfiguration is written
 * only with a token and the hashes of the CA: a node never joins a cluster that it cannot recognise. The other documents
 * stay on joined nodes too, where kubeadm makes new certificates from them when an address has changed.
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

/** Throws `config` when the cluster cannot be had with this Kubernetes version, or a patch does not fit. */
export function kubeadmDocuments(options: KubeadmOptions): string {
  const { documents, problems } = build(options);
  if (problems.length > 0) throw misfit(problems);
  const joins = options.token !== undefined && options.caCertHashes !== undefined;
  return documents
    .filter(({ kind }) => joins || kind !== 'JoinConfiguration')
    .map((document) => stringify(document, { version: '1.1', lineWidth: 0, aliasDuplicateObjects: false }))
    .join('---\n');
}

/**
 * Applies every patch to the documents of every node for each of the Kubernetes versions, with placeholders for what only
 * the running nodes know. Throws one `config` with every problem.
 */
export function checkPatches(cluster: Cluster, kubernetesVersions: readonly string[]): void {
  const problems = kubernetesVersions.flatMap((kubernetes) =>
    cluster.nodes.flatMap((node) => build({ ...placeholders, cluster, node, kubernetes }).problems),
  );
  if (problems.length > 0) throw misfit([...new Set(problems)]);
}

/** Flags of kubeadm for what its documents cannot say: v1beta2 has no `skipPhases`. */
export function kubeadmFlags(options: Pick<KubeadmOptions, 'cluster' | 'node' | 'kubernetes' | 'skipPhases'>): {
  readonly init: readonly string[];
  readonly join: readonly string[];
} {
  if (apiFor(options.cluster, options.node, options.kubernetes) !== 'v1beta2') return { init: [], join: [] };
  return { init: [`--skip-phases=${skippedPhases(options).join(',')}`], join: ['--skip-phases=preflight'] };
}

/** Addresses of the documentation ranges (RFC 5737, RFC 3849). */
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

/**
 * preflight would pull images and refuses swap and small machines; kind leaves it out too. kube-proxy is an addon, which
 * mode `none` is without.
 */
function skippedPhases({ cluster, skipPhases = [] }: Pick<KubeadmOptions, 'cluster' | 'skipPhases'>): string[] {
  const proxy = cluster.networking.kubeProxyMode === 'none' ? ['addon/kube-proxy'] : [];
  return [...new Set(['preflight', ...proxy, ...skipPhases])];
}

/** What a file may ask for and this version of Kubernetes cannot do. */
function versionProblems({ cluster, kubernetes, rootless }: KubeadmOptions): string[] {
  const { kubeProxyMode } = cluster.networking;
  const problems: string[] = [];
  const before = (minimum: string) => !versionAtLeast(kubernetes, minimum);
  if (kubeProxyMode === 'nftables' && before('1.29.0'))
    problems.push(`kubeProxyMode: nftables needs Kubernetes 1.29, the image has ${kubernetes}`);
  else if (kubeProxyMode === 'nftables' && before('1.31.0') && cluster.featureGates.NFTablesProxyMode !== true)
    problems.push(`kubeProxyMode: nftables on ${kubernetes} needs featureGates: {NFTablesProxyMode: true}`);
  if (rootless && before('1.22.0'))
    problems.push(`without root on the host, kubelet needs Kubernetes 1.22; the image has ${kubernetes}`);
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

function misfit(problems: readonly string[]): KinaError {
  return new KinaError('config', 'the cluster configuration does not fit the Kubernetes version', {
    details: problems,
    hint: 'Nothing has been made. Correct the configuration, or choose another node image.',
  });
}
