/** Selects the version of the kubeadm API for the documents of a node. */
import { versionAtLeast } from '../../oci/node-conventions.ts';
import type { Cluster, NodeConfig } from '../config/model.ts';

export type KubeadmApi = 'v1beta2' | 'v1beta3' | 'v1beta4';

/**
 * v1beta2 was added in 1.15 and removed in 1.27 (kubernetes/kubernetes#114540). v1beta3 was added in 1.22 and is deprecated
 * since 1.31; kind writes it up to 1.35. v1beta4 was added in 1.31.
 */
const apis: readonly { readonly api: KubeadmApi; readonly from: string; readonly before?: string }[] = [
  { api: 'v1beta4', from: '1.31.0' },
  { api: 'v1beta3', from: '1.22.0', before: '1.36.0' },
  { api: 'v1beta2', from: '1.15.0', before: '1.27.0' },
];

export const kubeadmGroup = 'kubeadm.k8s.io';

/** The API versions that a Kubernetes version reads, newest first. Pre-releases count as their release. */
function readableApis(kubernetes: string): KubeadmApi[] {
  return apis
    .filter(({ from, before }) => versionAtLeast(kubernetes, from) && !(before && versionAtLeast(kubernetes, before)))
    .map(({ api }) => api);
}

/** The newest API that the version reads; `kubeadmApi` in the version table. */
export function kubeadmApi(kubernetes: string): KubeadmApi {
  return readableApis(kubernetes)[0] ?? 'v1beta2';
}

/** A commonly patched field, which v1beta4 replaced by `timeouts.controlPlaneComponentHealthCheck`. */
export const oldTimeout = 'timeoutForControlPlane';

/**
 * The API version for a node: the newest, unless the patches need an older one that the Kubernetes version still reads.
 * kind uses older versions for longer, and files for kind name them, or use a field that only they have.
 */
export function apiFor(cluster: Cluster, node: NodeConfig, kubernetes: string): KubeadmApi {
  const readable = readableApis(kubernetes);
  const patches = [cluster, node].flatMap((owner) => [...owner.kubeadmPatches, ...owner.kubeadmPatches6902]);
  const named = new Set(patches.map((patch) => patch.apiVersion));
  const usesOld = patches.some((patch) => JSON.stringify(patch).includes(oldTimeout));
  return (
    readable.find((api) => named.has(`${kubeadmGroup}/${api}`)) ??
    readable.find((api) => !usesOld || api !== 'v1beta4') ??
    kubeadmApi(kubernetes)
  );
}
