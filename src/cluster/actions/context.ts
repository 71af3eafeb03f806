/**
 * The contexts of a creation. A context is complete when it is made: `planCluster` checks everything and returns a
 * `PlannedCluster`, `startNodes` boots the containers and returns a `RunningCluster`, which the actions work on.
 */
import type { Environment } from '../../host/environment.ts';
import { KinaError } from '../../host/errors.ts';
import type { Steps } from '../../host/progress.ts';
import type { EngineImage, NodeStatus, Provider } from '../../provider/provider.ts';
import type { Cluster } from '../config/cluster.ts';
import { roles } from '../names.ts';
import type { Node } from '../node.ts';
import type { AwaitedNode } from '../wait.ts';

export interface ProvisionOptions {
  /** Variables of the host. */
  readonly environment: Environment;
  readonly cluster: Cluster;
  readonly provider: Provider;
  /** Image of the nodes that do not name one. */
  readonly image: string;
  /** Builds the image of the load balancer and returns its name. Called for several control planes. */
  readonly buildLoadBalancerImage: () => Promise<string>;
  /** Loads an image into the runtime unless it is there. */
  readonly ensureImage: (reference: string, say: (note: string) => void) => Promise<EngineImage>;
  /** Seconds to wait for a usable cluster; 0 skips waiting. */
  readonly wait: number;
  /** Keep the nodes when creation fails. */
  readonly retain: boolean;
  /** Called with the kubeconfig of kubeadm and the URL of the API server on this machine. */
  readonly writeKubeconfig: (adminConf: string, server: string) => Promise<void>;
  readonly steps: Steps;
  readonly signal: AbortSignal;
}

export interface PlannedCluster extends ProvisionOptions {
  /** Nodes run without root on the host. */
  readonly rootless: boolean;
  /** Host ports of all existing nodes. */
  readonly taken: ReadonlySet<number>;
  /** Components that the node image does not have, e.g. `coredns`. */
  readonly absent: ReadonlySet<string>;
  /** Undefined for a single control plane. */
  readonly loadBalancerImage: string | undefined;
}

export interface RunningCluster extends PlannedCluster {
  /** Kubernetes nodes in the order of the configuration. */
  readonly nodes: readonly Node[];
  readonly loadBalancer: Node | undefined;
  /** All containers of the cluster. */
  readonly statuses: readonly NodeStatus[];
  readonly awaited: readonly AwaitedNode[];
  /** `vX.Y.Z` of the first control plane. */
  readonly kubernetes: string;
  /** URL of the API server on this machine. */
  readonly server: string;
  /** Bootstrap token. */
  readonly token: string;
}

export function controlPlanes({ nodes }: Pick<RunningCluster, 'nodes'>): Node[] {
  return nodes.filter((node) => node.role === roles.controlPlane);
}

export function workers({ nodes }: Pick<RunningCluster, 'nodes'>): Node[] {
  return nodes.filter((node) => node.role === roles.worker);
}

/** The control plane that runs `kubeadm init`. */
export function firstControlPlane(context: Pick<RunningCluster, 'nodes'>): Node {
  const [first] = controlPlanes(context);
  if (!first) throw new KinaError('internal', 'the cluster has no control plane');
  return first;
}

/** The host name under which every node reaches the API server. */
export function endpointName(context: Pick<RunningCluster, 'loadBalancer' | 'nodes'>): string {
  return (context.loadBalancer ?? firstControlPlane(context)).name;
}

/** Phases of `kubeadm init` to skip because the image lacks the component; a Deployment of it could never start. */
export function absentPhases({ absent }: Pick<PlannedCluster, 'absent'>): string[] {
  return absent.has('coredns') ? ['addon/coredns'] : [];
}
