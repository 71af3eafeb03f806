/**
 * What a cluster needs besides kubeadm's own: the pod network and a storage class, from the manifests that the node image
 * brings (`/kind/manifests`), so that images of kind and of kina work alike. Both markers in kind's network manifest are
 * honoured: one is a template with the pod subnet, the other wants the API server's endpoint in its environment.
 */
import { readFile } from 'node:fs/promises';
import { parseAllDocuments } from 'yaml';
import { KinaError } from '../../host/errors.ts';
import { apiServerPort } from '../names.ts';
import { type CreateContext, firstControlPlane } from './context.ts';
import { firstRange } from './first-range.ts';

const manifests = '/kind/manifests';

/**
 * Waits for the API server and hands the manifests in. From 1.29 on the administrator of admin.conf may do nothing until
 * kubeadm has bound its role; super-admin.conf, which only this node has, may from the start.
 */
const script = `
set -eu
looks=2000
until curl --silent --fail --insecure --max-time 2 --output /dev/null "https://localhost:$1/readyz"; do
  looks=$((looks - 1))
  [ "$looks" -gt 0 ] || { echo "the API server does not answer" >&2; exit 1; }
  sleep 0.3
done
conf=/etc/kubernetes/super-admin.conf
[ -f "$conf" ] || conf=/etc/kubernetes/admin.conf
[ "$2" = none ] || kubectl --kubeconfig="$conf" create -f -
kubectl --kubeconfig="$conf" apply -f "$3"
[ -n "$5" ] || exit 0
# the node is there a moment after the API server; its range is whoever's who comes first, and the same
looks=60
until kubectl --kubeconfig="$conf" get node "$4" >/dev/null 2>&1; do
  looks=$((looks - 1))
  [ "$looks" -gt 0 ] || exit 0
  sleep 0.5
done
kubectl --kubeconfig="$conf" patch node "$4" --patch "{\\"spec\\":{\\"podCIDR\\":\\"$5\\",\\"podCIDRs\\":[\\"$5\\"]}}" || :
`;

/**
 * Installs the pod network and the storage class as soon as the API server answers: kubeadm has seconds of work left then,
 * in which the network's pods can start already.
 */
export async function installAddons(context: CreateContext, signal: AbortSignal): Promise<void> {
  const { cni } = context.cluster.networking;
  const manifest = cni === 'none' ? '' : await networkManifest(context);
  context.steps.debug(5, manifest);
  const node = firstControlPlane(context);
  const settings = [
    String(apiServerPort),
    cni === 'none' ? 'none' : 'network',
    `${manifests}/default-storage.yaml`,
    node.name,
    firstRange(context.cluster) ?? '',
  ];
  await node.shell(script, settings, { input: manifest, signal });
}

async function networkManifest(context: CreateContext): Promise<string> {
  const { cni } = context.cluster.networking;
  if (typeof cni === 'object') return readFile(cni.file, 'utf8');
  return fitNetwork(context, await firstControlPlane(context).readFile(`${manifests}/default-cni.yaml`));
}

/** Honours kind's two markers. */
export function fitNetwork(context: Pick<CreateContext, 'cluster' | 'loadBalancer' | 'nodes'>, text: string): string {
  let manifest = text;
  if (/would you kindly template this file/.test(text))
    manifest = manifest.replaceAll(/\{\{\s*\.PodSubnet\s*\}\}/g, context.cluster.networking.podSubnets.join(','));
  if (!/would you kindly patch this file/.test(text)) return manifest;
  const endpoint = `${endpointName(context)}:${apiServerPort}`;
  const documents = parseAllDocuments(manifest);
  for (const document of documents) {
    if ('empty' in document || document.get('kind') !== 'DaemonSet') continue;
    const containers = document.getIn(['spec', 'template', 'spec', 'containers']) as { items?: unknown[] } | undefined;
    for (const index of containers?.items?.keys() ?? []) {
      const path = ['spec', 'template', 'spec', 'containers', index, 'env'];
      const variable = document.createNode({ name: 'CONTROL_PLANE_ENDPOINT', value: endpoint });
      if (document.hasIn(path)) document.addIn(path, variable);
      else document.setIn(path, document.createNode([variable]));
    }
  }
  return documents.map(String).join('');
}

/** The name behind which the API server is found from every node. */
export function endpointName({ loadBalancer, nodes }: Pick<CreateContext, 'loadBalancer' | 'nodes'>): string {
  const name = (loadBalancer ?? nodes.find((node) => node.role === 'control-plane'))?.name;
  if (!name) throw new KinaError('internal', 'a cluster without a control plane');
  return name;
}

/** A cluster of one node: the control plane carries everything, and may be a target of load balancers. */
export async function openControlPlane(context: CreateContext): Promise<void> {
  const label = 'node.kubernetes.io/exclude-from-external-load-balancers-';
  await firstControlPlane(context).kubectl(['label', 'nodes', '--all', label], { signal: context.signal });
}
