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

const manifests = '/kind/manifests';

export async function installNetwork(context: CreateContext): Promise<void> {
  const { cni } = context.cluster.networking;
  if (cni === 'none') return;
  const node = firstControlPlane(context);
  const text =
    typeof cni === 'object' ? await readFile(cni.file, 'utf8') : await node.readFile(`${manifests}/default-cni.yaml`);
  const manifest = typeof cni === 'object' ? text : fitNetwork(context, text);
  context.steps.debug(5, manifest);
  await node.kubectl(['create', '-f', '-'], { input: manifest, signal: context.signal });
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

export async function installStorage(context: CreateContext): Promise<void> {
  const node = firstControlPlane(context);
  const argv = [
    'kubectl',
    '--kubeconfig=/etc/kubernetes/admin.conf',
    'apply',
    '-f',
    `${manifests}/default-storage.yaml`,
  ];
  const result = await node.exec(argv, { signal: context.signal });
  if (result.code !== 0) throw node.failure(argv, result);
}

/** A cluster of one node: the control plane carries everything, and may be a target of load balancers. */
export async function openControlPlane(context: CreateContext): Promise<void> {
  const label = 'node.kubernetes.io/exclude-from-external-load-balancers-';
  await firstControlPlane(context).kubectl(['label', 'nodes', '--all', label], { signal: context.signal });
}
