/**
 * A node image of kina under Apple's own tool: what `container k8s create --node-image` (1.2.2) does in the node, one step
 * after the other, by the paths and with the empty environment that it uses. Of what podman or the release at hand cannot
 * do there is a list, with the reason; everything else has to succeed.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cgroupDriver } from '../../src/oci/node-conventions.ts';
import { type ContainerNode, type Engine, engineRequirements, startEngine } from '../support/engine.ts';
import { buildNode, kubernetes } from '../support/images.ts';
import { ask, bootState } from '../support/node.ts';
import { describeWith } from '../support/requirements.ts';

interface Step {
  readonly what: string;
  /** Run by /bin/sh, as the tool does unless it starts a program itself. */
  readonly script: string;
  /** Seconds; 60. */
  readonly timeout?: number;
  /** A refusal that is the host's, and why. */
  readonly unless?: { readonly says: RegExp; readonly why: string };
}

/** The kernels of test hosts; the target has been in every kernel that Apple's container ever installed. */
const noMss = { says: /TCPMSS|missing kernel module|No such file/, why: "the host's kernel has no TCPMSS target" };
/** The tool never asks whether these succeed: the kernel may have no bridge netfilter. */
const noBridge = { says: /No such file|Read-only/, why: "the host's kernel has no bridge netfilter" };
const clamp = '-p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1220';

const preparation: readonly Step[] = [
  { what: 'finds the node booted', script: 'test -S /run/containerd/containerd.sock' },
  { what: 'makes the folder of its drop-in', script: 'mkdir -p /etc/containerd/conf.d' },
  {
    what: 'writes the drop-in, which asks for the native snapshotter',
    script: `printf '%s\\n' "[plugins.'io.containerd.cri.v1.images']" 'snapshotter = "native"' \
>/etc/containerd/conf.d/native-snapshotter.toml`,
  },
  { what: 'turns on forwarding', script: 'sysctl -w net.ipv4.ip_forward=1' },
  { what: 'filters bridges', script: 'sysctl -w net.bridge.bridge-nf-call-iptables=1', unless: noBridge },
  { what: 'filters bridges, IPv6', script: 'sysctl -w net.bridge.bridge-nf-call-ip6tables=1', unless: noBridge },
  { what: 'restarts containerd', script: 'systemctl restart containerd' },
  {
    // Its own tag, pause:3.10, is of another release; it does not ask whether this succeeds either.
    what: 'gives pause another tag',
    script: `ctr -n k8s.io images tag ${kubernetes.pause} registry.k8s.io/pause:3.10.1`,
  },
  { what: 'clamps what it sends', script: `/usr/sbin/iptables-nft -t mangle -A OUTPUT ${clamp}`, unless: noMss },
  { what: 'clamps what it forwards', script: `/usr/sbin/iptables-nft -t mangle -A FORWARD ${clamp}`, unless: noMss },
  // later versions
  {
    what: 'clamps with the backend that the image chose',
    script: `iptables -t mangle -A OUTPUT ${clamp}`,
    unless: noMss,
  },
];

const ignored = 'Swap,SystemVerification,FileContent--proc-sys-net-bridge-bridge-nf-call-iptables';
/**
 * kubeadm below 1.31 cannot do its preflight without crictl, which the mirror of release files lacks for this release; `kina image
 * test` has those checks of it that need none.
 */
const noCrictl = '--skip-phases preflight';

const config = '/etc/kubernetes/kubeadm-config.yaml';
const environment = 'KUBECONFIG=/etc/kubernetes/admin.conf';

/** Its documents, in the API and with the cgroup driver of the release at hand: v1beta4 is read from 1.31 on. */
function documents(address: string): string {
  const kubeadm = 'kubeadm.k8s.io/v1beta2';
  return [
    {
      apiVersion: kubeadm,
      kind: 'InitConfiguration',
      localAPIEndpoint: { advertiseAddress: address, bindPort: 6443 },
      nodeRegistration: { criSocket: 'unix:///run/containerd/containerd.sock' },
    },
    {
      apiVersion: kubeadm,
      kind: 'ClusterConfiguration',
      kubernetesVersion: kubernetes.version,
      networking: { podSubnet: '10.244.0.0/16' },
      apiServer: { certSANs: ['localhost', '127.0.0.1'] },
    },
    {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      failSwapOn: false,
      cgroupDriver: cgroupDriver(kubernetes.version),
    },
  ]
    .map((one) => JSON.stringify(one))
    .join('\n---\n');
}

const needs = ['full tier', ...engineRequirements.podman, 'release files'];

describeWith("the amd64 node image under the steps of Apple's own `container k8s`", needs, () => {
  let engine: Engine | undefined;
  let node: ContainerNode;

  beforeAll(async () => {
    const { archive } = await buildNode('amd64');
    engine = await startEngine('podman');
    node = await engine.runNode(await engine.load(archive));
    expect(await bootState(node, 180)).toBe('running');
  });
  afterAll(() => engine?.close());

  /** As the tool runs things: nothing in the environment but the path that the runtime gives. */
  const start = (argv: string, variables = '', timeout = 60) => {
    const path = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
    return node.exec(`env -i ${path} ${variables} ${argv}`, { timeout });
  };
  const quoted = (script: string): string => `'${script.replaceAll("'", String.raw`'\''`)}'`;
  const shell = (script: string, timeout?: number) => start(`/bin/sh -c ${quoted(script)}`, '', timeout);

  async function walk({ what, script, timeout, unless }: Step): Promise<void> {
    const { code, stderr, stdout } = await shell(script, timeout);
    if (code !== 0 && unless?.says.test(stderr)) return console.log(`${what}: not here, ${unless.why}`);
    expect(`${code} ${code === 0 ? '' : stderr || stdout}`).toBe('0 ');
  }

  for (const step of preparation) test(step.what, () => walk(step));

  test('containerd works on after the restart, with all its images', async () => {
    expect(await ask(node, 'systemctl is-active containerd')).toBe('active');
    expect(await ask(node, 'ctr -n k8s.io images ls -q')).toContain(kubernetes.images[0]!);
    // The drop-in is not read: the entrypoint's probe has chosen.
    expect(await ask(node, 'containerd config dump | grep "^ *snapshotter = "')).toMatch(
      /^ *snapshotter = "overlayfs"/,
    );
  });

  test('initializes a control plane with its own files and flags', async () => {
    const address = await ask(node, "hostname -I | cut -d' ' -f1");
    await walk({ what: 'writes the configuration', script: `cat >${config} <<'EOF'\n${documents(address)}\nEOF` });
    const lacking = (await shell('command -v crictl')).code === 0 ? '' : noCrictl;
    if (lacking) console.log('preflight: not here, the image has no crictl');
    const flags = `--config ${config} --ignore-preflight-errors ${ignored} ${lacking}`;
    const init = await start(`/usr/bin/kubeadm init ${flags}`, '', 400);
    expect(`${init.code} ${init.code === 0 ? '' : init.stderr}`).toBe('0 ');
    await walk({
      what: 'kubectl for root',
      script: 'mkdir -p /root/.kube && cp /etc/kubernetes/admin.conf /root/.kube/config',
    });
  });

  test('finds kubectl where it looks for it, and applies a manifest', async () => {
    const ready = await start('/bin/kubectl get --raw /readyz', environment);
    expect(ready.stdout).toBe('ok');
    // 1.20 has the taint under its old name alone; the tool does not ask whether it went
    const taint = await start('/bin/kubectl taint nodes --all node-role.kubernetes.io/master-', environment);
    expect(taint.stdout).toContain('untainted');
    const manifest = JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'probe' } });
    const apply = `cat >/tmp/kindnet.yaml <<'EOF'\n${manifest}\nEOF\n${environment} kubectl apply -f /tmp/kindnet.yaml`;
    await walk({ what: 'applies', script: apply });
    expect((await start('/bin/kubectl get nodes -o name', environment)).stdout).toMatch(/^node\/kina-test-/);
  });

  test('loads an image from standard input', async () => {
    const load = `ctr -n k8s.io images export - ${kubernetes.pause} | ctr -n k8s.io images import -`;
    await walk({ what: 'loads', script: load });
  });
});
