/** Input of the kubeadm documents of one node. */
import type { Cluster, NodeConfig } from '../config/model.ts';

export interface KubeadmOptions {
  readonly cluster: Cluster;
  readonly node: NodeConfig;
  /** Version of the node image, e.g. `v1.20.2`. */
  readonly kubernetes: string;
  /** `NAME:6443` of the control plane or the load balancer. */
  readonly endpoint: string;
  /** Addresses of the node, at least those of the families of the cluster. */
  readonly addresses: { readonly ipv4?: string | undefined; readonly ipv6?: string | undefined };
  /** `kina://PROVIDER/CLUSTER/NODE`. */
  readonly providerId: string;
  readonly cgroupDriver: 'systemd' | 'cgroupfs';
  /** Bootstrap token. Default: kubeadm generates one. */
  readonly token?: string | undefined;
  /** Lifetime as a Go duration (`24h0m0s`). Default of kubeadm: a day. */
  readonly tokenTtl?: string | undefined;
  /** `sha256:HEX` of the public key of the CA. With `token`, JoinConfiguration is written. */
  readonly caCertHashes?: readonly string[] | undefined;
  /** Key of the certificates that joining control planes download. */
  readonly certificateKey?: string | undefined;
  /** Additional names and addresses in the certificate of the API server. */
  readonly certNames?: readonly string[] | undefined;
  /** Seconds that kubeadm waits for a control plane. Default of kubeadm: four minutes. */
  readonly controlPlaneTimeout?: number | undefined;
  /** Additional phases of `kubeadm init` to skip. */
  readonly skipPhases?: readonly string[] | undefined;
  /** The runtime has no root on the host. */
  readonly rootless?: boolean | undefined;
  /** CPUs and memory (MiB) that the node sees but cannot use. */
  readonly overhead?: { readonly cpus: number; readonly memory: number } | undefined;
}
