/** The documents of kubelet and kube-proxy as objects, before patches. */

import { type DocumentContext, needsDualStackGate } from './kubeadm-objects.ts';
import type { KubeadmOptions } from './options.ts';
import type { KubeadmDocument } from './patch.ts';

/** The gates for every component: the user's, and those without which the cluster could not be. */
export function componentGates(options: KubeadmOptions): Readonly<Record<string, boolean>> {
  return {
    ...(options.rootless ? { KubeletInUserNamespace: true } : {}),
    ...(needsDualStackGate(options) ? { IPv6DualStack: true } : {}),
    ...options.cluster.featureGates,
  };
}

export function kubeletConfiguration({ cgroupDriver, cluster, gates, overhead }: DocumentContext): KubeadmDocument {
  return {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    cgroupDriver,
    // the node's own branch: the rest of the tree belongs to systemd and, in a container, to the host
    cgroupRoot: '/kubelet',
    // A node says that it is Ready when it next looks at itself, every ten seconds by default. It is told only when
    // something has changed; the interval of telling, which would otherwise follow, stays at its default.
    nodeStatusUpdateFrequency: '1s',
    nodeStatusReportFrequency: '5m0s',
    // swap is the host's affair
    failSwapOn: false,
    // the host's disk is shared: how full it is says nothing about this node, and evictions would not empty it
    imageGCHighThresholdPercent: 100,
    evictionHard: { 'nodefs.available': '0%', 'nodefs.inodesFree': '0%', 'imagefs.available': '0%' },
    // kubelet counts from /proc; what the cgroup of a virtual machine's container does not allow is not its to give
    ...(overhead ? { systemReserved: { cpu: `${overhead.cpus}`, memory: `${overhead.memory}Mi` } } : {}),
    ...(cluster.networking.ipFamily === 'ipv6' ? { address: '::', healthzBindAddress: '::' } : {}),
    ...featureGates(gates),
  };
}

export function kubeProxyConfiguration({ cluster, gates, rootless }: DocumentContext): KubeadmDocument {
  const mode = cluster.networking.kubeProxyMode;
  return {
    apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
    kind: 'KubeProxyConfiguration',
    mode,
    // few services, often changed by tests that wait for it
    iptables: { minSyncPeriod: '1s' },
    conntrack: {
      // 0: leave nf_conntrack_max alone, which belongs to the whole host
      maxPerCore: 0,
      ...(mode === 'nftables' && !rootless ? { tcpBeLiberal: true } : {}),
      // these sysctls cannot be written without root on the host; 0 leaves them
      ...(rootless ? { tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' } : {}),
    },
    ...featureGates(gates),
  };
}

function featureGates(gates: Readonly<Record<string, boolean>>): { featureGates?: Readonly<Record<string, boolean>> } {
  const names = Object.keys(gates).sort();
  return names.length > 0 ? { featureGates: Object.fromEntries(names.map((name) => [name, gates[name]!])) } : {};
}
