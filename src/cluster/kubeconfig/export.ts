/** The kubeconfig of an existing cluster. */
import { apiServerPort, contextName } from '../names.ts';
import { apiServerOf } from '../specs.ts';
import { type ClusterOption, openCluster, runningControlPlane } from '../state.ts';
import { clusterKubeconfig } from './admin.ts';
import { mergeKubeconfig } from './kubeconfig.ts';

export interface KubeconfigOptions extends ClusterOption {
  /** Use the address of the API server in the network of the cluster. */
  readonly internal?: boolean | undefined;
}

/** The kubeconfig as YAML. Throws `not-found`, or `cluster` when the cluster is stopped. */
export async function getKubeconfig(options: KubeconfigOptions): Promise<string> {
  const cluster = await openCluster(options);
  const node = runningControlPlane(cluster);
  const inside = `https://${(cluster.loadBalancer ?? node).name}:${apiServerPort}`;
  return clusterKubeconfig(await node.readFile('/etc/kubernetes/admin.conf'), {
    name: contextName(cluster.name),
    server: options.internal ? inside : apiServerOf(cluster, cluster.statuses),
  });
}

export interface ExportedKubeconfig {
  /** Name of the context, which is the current one afterwards. */
  readonly context: string;
  /** Path of the changed file. */
  readonly file: string;
}

/** Merges the kubeconfig of a cluster into the file `kubeconfig`; default: the file that kubectl uses. */
export async function exportKubeconfig(
  options: KubeconfigOptions & { readonly kubeconfig?: string | undefined },
): Promise<ExportedKubeconfig> {
  const file = await mergeKubeconfig(await getKubeconfig(options), {
    explicit: options.kubeconfig,
    ...(options.environment ? { env: options.environment } : {}),
  });
  return { context: contextName(options.name), file };
}
