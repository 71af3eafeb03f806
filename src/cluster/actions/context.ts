/** What the actions of a creation share: the wanted cluster, the nodes as they came up, and how to say something. */
import type { Steps } from '../../host/progress.ts';
import type { Provider } from '../../provider/provider.ts';
import type { Cluster } from '../config/cluster.ts';
import type { Node } from '../node.ts';

export interface CreateContext {
  readonly cluster: Cluster;
  readonly provider: Provider;
  readonly steps: Steps;
  readonly signal: AbortSignal;
  /** No root on the host. */
  readonly rootless: boolean;
  /** Host ports of all nodes that there were before. */
  readonly taken: ReadonlySet<number>;
  /** Kubernetes nodes in the order of the configuration; filled when they run. */
  nodes: Node[];
  loadBalancer: Node | undefined;
  /** `vX.Y.Z` of the first control plane's image. */
  kubernetes: string;
  /** Components that the image says it lacks, e.g. `coredns`. */
  readonly absent: ReadonlySet<string>;
}

export function controlPlanes({ nodes }: CreateContext): Node[] {
  return nodes.filter((node) => node.role === 'control-plane');
}

export function workers({ nodes }: CreateContext): Node[] {
  return nodes.filter((node) => node.role === 'worker');
}

/** The control plane that `kubeadm init` runs on. */
export function firstControlPlane(context: CreateContext): Node {
  return controlPlanes(context)[0]!;
}
