/** What the kubeadm documents of one node are made from. */
import type { Cluster, NodeConfig } from '../config/model.ts';

export interface KubeadmOptions {
  readonly cluster: Cluster;
  readonly node: NodeConfig;
  /** `v1.20.2`, from the node's image. */
  readonly kubernetes: string;
  /** `NAME:6443`: the control plane or the load balancer, by a name that every node resolves. */
  readonly endpoint: string;
  /** The node's own; at least those of the cluster's family. */
  readonly addresses: { readonly ipv4?: string | undefined; readonly ipv6?: string | undefined };
  /** `kina://PROVIDER/CLUSTER/NODE`. */
  readonly providerId: string;
  readonly cgroupDriver: 'systemd' | 'cgroupfs';
  /** Bootstrap token; without one kubeadm makes its own, which nobody knows. */
  readonly token?: string | undefined;
  /** How long it lives, as Go writes it (`24h0m0s`); kubeadm's default is a day. */
  readonly tokenTtl?: string | undefined;
  /** `sha256:HEX` of the CA's public key; with `token` they make this the file of a joining node. */
  readonly caCertHashes?: readonly string[] | undefined;
  /** For control planes that fetch the shared keys from the cluster. */
  readonly certificateKey?: string | undefined;
  /** Names and addresses in the API server's certificate beyond the endpoint's, the node's and the host's. */
  readonly certNames?: readonly string[] | undefined;
  /** Seconds that kubeadm waits for a control plane; default: its own four minutes. */
  readonly controlPlaneTimeout?: number | undefined;
  /** Phases of `kubeadm init` to leave out besides those that kina always leaves out. */
  readonly skipPhases?: readonly string[] | undefined;
  /** The runtime has no root on the host. */
  readonly rootless?: boolean | undefined;
  /** CPUs and MiB that the node sees and does not have. */
  readonly overhead?: { readonly cpus: number; readonly memory: number } | undefined;
}
