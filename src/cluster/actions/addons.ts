/**
 * Installs what kubeadm does not: the pod network and a storage class, from the manifests in the node image
 * (`/kind/manifests`). Images of kind and of kina both work, because both markers of kind's network manifest are
 * supported: one is a template with the pod subnet, the other wants the endpoint of the API server in its environment.
 */
import { readFile } from 'node:fs/promises';
import { parseAllDocuments } from 'yaml';
import { apiServerPort } from '../names.ts';
import { endpointName, firstControlPlane, type RunningCluster } from './context.ts';
import { firstRange } from './first-range.ts';

const manifests = '/kind/manifests';

/**
 * Waits for the API server and applies the manifests. Since 1.29 the user of admin.conf has no permissions until kubeadm
 * has bound its role; super-admin.conf, which exists only on this node, has them from the start.
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
# the node registers shortly after the API server starts; the controller manager would assign the same range
looks=60
until kubectl --kubeconfig="$conf" get node "$4" >/dev/null 2>&1; do
  looks=$((looks - 1))
  [ "$looks" -gt 0 ] || exit 0
  sleep 0.5
done
kubectl --kubeconfig="$conf" patch node "$4" --patch "{\\"spec\\":{\\"podCIDR\\":\\"$5\\",\\"podCIDRs\\":[\\"$5\\"]}}" || :
`;

export async function installAddons(context: RunningCluster): Promise<void> {
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
  await node.shell(script, settings, { input: manifest, signal: context.signal });
}

async function networkManifest(context: RunningCluster): Promise<string> {
  const { cni } = context.cluster.networking;
  if (typeof cni === 'object') return readFile(cni.file, 'utf8');
  return fitNetwork(context, await firstControlPlane(context).readFile(`${manifests}/default-cni.yaml`));
}

/** Applies kind's two markers. */
export function fitNetwork(context: Pick<RunningCluster, 'cluster' | 'loadBalancer' | 'nodes'>, text: string): string {
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

/** Lets load balancers use the control plane of a single-node cluster: no other node can run their pods. */
export async function allowLoadBalancing(context: RunningCluster): Promise<void> {
  const label = 'node.kubernetes.io/exclude-from-external-load-balancers-';
  await firstControlPlane(context).kubectl(['label', 'nodes', '--all', label], { signal: context.signal });
}
