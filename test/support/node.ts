/**
 * What tests ask of a node, whatever it runs in: a container of podman or docker, or a machine of its own. The failure
 * of a boot is explained with the failed units and their journal, because "degraded" alone explains nothing.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { tail } from './command.ts';

export interface Shell {
  /** Runs a shell command as root in the node; `timeout` in seconds. */
  exec(
    command: string,
    options?: { readonly timeout?: number; readonly input?: string },
  ): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>;
}

/** Runs a command that has to succeed; its stdout without the final newline. */
export async function ask(node: Shell, command: string, timeout = 60): Promise<string> {
  const result = await node.exec(command, { timeout });
  if (result.code !== 0)
    throw new Error(`in the node: ${command}\nended with ${result.code}\n${result.stdout}${result.stderr}`);
  return result.stdout.trimEnd();
}

/** Waits for the end of the boot. The state, `running` or else, then with the failed units and their journal. */
export async function bootState(node: Shell, seconds: number): Promise<string> {
  const deadline = Date.now() + seconds * 1000;
  let state = '';
  while (Date.now() < deadline) {
    const answer = await node.exec('systemctl is-system-running');
    if (/container state improper|is not running/.test(answer.stderr)) return `the node has ended: ${answer.stderr}`;
    state = answer.stdout.trim();
    if (state === 'running') return state;
    if (state && !['initializing', 'starting', 'offline', 'unknown'].includes(state)) break;
    await sleep(1000);
  }
  const why = await node.exec(
    `systemctl list-jobs --no-pager; systemctl --failed --plain --no-legend --no-pager
     for unit in $(systemctl --failed --plain --no-legend | cut -d' ' -f1); do
       journalctl --no-pager --lines 20 --unit "$unit"
     done`,
  );
  return `${state || 'no answer'}\n${why.stdout}${why.stderr}`;
}

/** Names of the images that Kubernetes sees, sorted; those known only by digest are left out. */
export async function imageNames(node: Shell): Promise<string[]> {
  const names = (await ask(node, 'ctr --namespace k8s.io images ls --quiet')).split('\n');
  return names.filter((name) => name && !name.startsWith('sha256:') && !name.includes('@')).sort();
}

/** Images whose content is not all there; empty when every preloaded image can be unpacked. */
export async function incompleteImages(node: Shell): Promise<string[]> {
  const lines = (await ask(node, 'ctr --namespace k8s.io images check', 120)).split('\n').slice(1);
  return lines.filter((line) => line && !line.startsWith('sha256:') && !/\scomplete\s/.test(line));
}

export const coreImages = (version: string, registry: string, others: readonly string[]): string[] =>
  [
    ...['kube-apiserver', 'kube-controller-manager', 'kube-proxy', 'kube-scheduler'].map(
      (name) => `${name}:${version}`,
    ),
    ...others,
  ]
    .map((name) => `${registry}/${name}`)
    .sort();

export interface ClusterOptions {
  readonly version: string;
  readonly cgroupDriver: 'cgroupfs' | 'systemd';
  /** Seconds for each of kubeadm and the wait for Ready. */
  readonly timeout: number;
  readonly apiServerNames?: readonly string[];
}

/**
 * Makes a cluster of one node by hand, as documents and flags of kubeadm: the image is on trial here, not kina's own
 * cluster code. The pod network is the image's, else a plain one; CoreDNS is left out because not every image holds it.
 * Resolves when the node is Ready.
 */
export async function initCluster(node: Shell, options: ClusterOptions): Promise<void> {
  const config = kubeadmConfig(options);
  await ask(node, `mkdir -p /kind /etc/cni/net.d && echo '${base64(config)}' | base64 -d >/kind/kubeadm.conf`);
  const network = `echo '${base64(JSON.stringify(podNetwork))}' | base64 -d >/etc/cni/net.d/10-test.conflist`;
  await ask(node, `[ -n "$(ls /etc/cni/net.d)" ] || ${network}`);
  // preflight pulls images through crictl, which is optional in an image; kind skips it below 1.23 too
  const init = 'kubeadm init --config /kind/kubeadm.conf --skip-token-print --skip-phases=preflight,addon/coredns';
  const started = await node.exec(`${init} 2>&1`, options);
  if (started.code !== 0) {
    const journal = await node.exec(
      'journalctl --no-pager --lines 30 --unit containerd; journalctl --no-pager --lines 30 --unit kubelet',
    );
    throw new Error(`kubeadm init ended with ${started.code}\n${tail(started.stdout)}\n${journal.stdout}`);
  }
  const ready = await node.exec(kubectl(`wait --for=condition=Ready node --all --timeout=${options.timeout}s`), {
    timeout: options.timeout + 30,
  });
  if (ready.code !== 0) {
    const why = await node.exec(kubectl('describe nodes'));
    throw new Error(`the node is not Ready: ${ready.stdout}${ready.stderr}\n${why.stdout}`);
  }
}

/** A kubectl command line for use in the node. */
export function kubectl(args: string): string {
  return `kubectl --kubeconfig /etc/kubernetes/admin.conf ${args}`;
}

/** Starts a pod of an image that is there and waits until it runs: runtime, snapshotter and pod network at work. */
export async function runPod(node: Shell, image: string, timeout: number): Promise<string> {
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'probe' }, spec: podSpec(image) };
  // the controller that makes it may still be starting, and a pod without it is refused
  await ask(node, `until ${kubectl('get serviceaccount default')}; do sleep 1; done`, timeout);
  await ask(node, `echo '${base64(JSON.stringify(pod))}' | base64 -d | ${kubectl('apply -f -')}`);
  await ask(node, kubectl(`wait --for=condition=Ready pod/probe --timeout=${timeout}s`), timeout + 30);
  return ask(node, kubectl("get pod probe --output jsonpath='{.status.podIP}'"));
}

const podSpec = (image: string) => ({
  automountServiceAccountToken: false,
  containers: [{ name: 'probe', image, imagePullPolicy: 'Never' }],
  tolerations: [{ operator: 'Exists' }],
});

const podNetwork = {
  cniVersion: '0.3.1',
  name: 'test',
  plugins: [
    {
      type: 'ptp',
      ipMasq: false,
      ipam: {
        type: 'host-local',
        ranges: [[{ subnet: '10.244.0.0/24' }]],
        routes: [{ dst: '0.0.0.0/0' }],
      },
    },
    { type: 'portmap', capabilities: { portMappings: true } },
  ],
};

function kubeadmConfig({ version, cgroupDriver, timeout, apiServerNames = [] }: ClusterOptions): string {
  return [
    {
      apiVersion: 'kubeadm.k8s.io/v1beta2',
      kind: 'ClusterConfiguration',
      kubernetesVersion: version,
      networking: { podSubnet: '10.244.0.0/16' },
      // kubeadm's own four minutes are too short for an emulated machine with two processors.
      apiServer: { certSANs: ['localhost', '127.0.0.1', ...apiServerNames], timeoutForControlPlane: `${timeout}s` },
    },
    {
      apiVersion: 'kubeadm.k8s.io/v1beta2',
      kind: 'InitConfiguration',
      nodeRegistration: { criSocket: '/run/containerd/containerd.sock', taints: [] },
    },
    {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      cgroupDriver,
      cgroupRoot: '/kubelet',
      failSwapOn: false,
      imageGCHighThresholdPercent: 100,
      evictionHard: { 'nodefs.available': '0%', 'nodefs.inodesFree': '0%', 'imagefs.available': '0%' },
    },
    { apiVersion: 'kubeproxy.config.k8s.io/v1alpha1', kind: 'KubeProxyConfiguration', conntrack: { maxPerCore: 0 } },
  ]
    .map((document) => JSON.stringify(document))
    .join('\n---\n');
}

const base64 = (text: string) => Buffer.from(text).toString('base64');
