/**
 * A minimal kubeadm configuration for a single node, for any supported version: the test is about the image, not about
 * kina's clusters. The kinds and their fields: pkg.go.dev/k8s.io/kubernetes/cmd/kubeadm/app/apis.
 */
import { cgroupDriver, versionAtLeast } from '../../oci/node-conventions.ts';

/** Ignored by kind as well: they are about the host, or about modules that are built in. */
export const ignoredPreflight = [
  'NumCPU',
  'Mem',
  'Swap',
  'SystemVerification',
  'FileContent--proc-sys-net-bridge-bridge-nf-call-iptables',
  // It contacts registries; preloaded images have their own check.
  'ImagePull',
];

/** Documents for `kubeadm --config`; JSON, which is valid YAML. `seconds`: time limit for the control plane. */
export function kubeadmConfig(version: string, seconds: number): string {
  const api = versionAtLeast(version, '1.31.0') ? 'v1beta4' : versionAtLeast(version, '1.22.0') ? 'v1beta3' : 'v1beta2';
  const apiVersion = `kubeadm.k8s.io/${api}`;
  const socket = '/run/containerd/containerd.sock';
  const limit = `${seconds}s`;
  const documents = [
    {
      apiVersion,
      kind: 'ClusterConfiguration',
      kubernetesVersion: version,
      networking: { podSubnet: '10.244.0.0/16' },
      apiServer: {
        certSANs: ['localhost', '127.0.0.1'],
        ...(api === 'v1beta4' ? {} : { timeoutForControlPlane: limit }),
      },
    },
    {
      apiVersion,
      kind: 'InitConfiguration',
      nodeRegistration: { criSocket: api === 'v1beta2' ? socket : `unix://${socket}`, taints: [] },
      ...(api === 'v1beta4' ? { timeouts: { controlPlaneComponentHealthCheck: limit } } : {}),
    },
    {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      cgroupDriver: cgroupDriver(version),
      cgroupRoot: '/kubelet',
      failSwapOn: false,
      imageGCHighThresholdPercent: 100,
      evictionHard: { 'nodefs.available': '0%', 'nodefs.inodesFree': '0%', 'imagefs.available': '0%' },
    },
    { apiVersion: 'kubeproxy.config.k8s.io/v1alpha1', kind: 'KubeProxyConfiguration', conntrack: { maxPerCore: 0 } },
  ];
  return documents.map((document) => JSON.stringify(document)).join('\n---\n');
}

/** A pod network for images without one. */
export const podNetwork = JSON.stringify({
  cniVersion: '0.3.1',
  name: 'kina-test',
  plugins: [
    {
      type: 'ptp',
      ipMasq: false,
      ipam: { type: 'host-local', ranges: [[{ subnet: '10.244.0.0/24' }]], routes: [{ dst: '0.0.0.0/0' }] },
    },
    { type: 'portmap', capabilities: { portMappings: true } },
  ],
});
