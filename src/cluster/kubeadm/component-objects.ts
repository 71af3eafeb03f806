/** The documents of kubelet and kube-proxy, before patches. */

import { type DocumentContext, needsDualStackGate } from './kubeadm-objects.ts';
import type { KubeadmOptions } from './options.ts';
import type { KubeadmDocument } from './patch.ts';

/** Feature gates of all components: those of the user, and those that the cluster needs. */
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
    // a separate cgroup: the others belong to systemd and, in a container, to the host
    cgroupRoot: '/kubelet',
    // kubelet computes the status every ten seconds by default, which delays Ready. It reports only changes; the interval
    // of reports without changes would follow the frequency of updates, and is set to its default.
    nodeStatusUpdateFrequency: '1s',
    nodeStatusReportFrequency: '5m0s',
    // swap is configured on the host
    failSwapOn: false,
    // the disk is shared with the host: evictions would not free it
    imageGCHighThresholdPercent: 100,
    evictionHard: { 'nodefs.available': '0%', 'nodefs.inodesFree': '0%', 'imagefs.available': '0%' },
    // kubelet reads its capacity from /proc, which includes CPUs and memory that the cgroup does not allow
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
    // clusters have few Services, and tests wait for their changes
    iptables: { minSyncPeriod: '1s' },
    conntrack: {
      // 0 does not change nf_conntrack_max, which applies to the whole host
      maxPerCore: 0,
      ...(mode === 'nftables' && !rootless ? { tcpBeLiberal: true } : {}),
      // these sysctls need root on the host; 0 does not change them
      ...(rootless ? { tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' } : {}),
    },
    ...featureGates(gates),
  };
}

function featureGates(gates: Readonly<Record<string, boolean>>): { featureGates?: Readonly<Record<string, boolean>> } {
  const names = Object.keys(gates).sort();
  return names.length > 0 ? { featureGates: Object.fromEntries(names.map((name) => [name, gates[name]!])) } : {};
}
