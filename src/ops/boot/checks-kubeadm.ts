/** The checks that use kubeadm: its preflight checks, and on request a cluster with one node. */
import { type BootCheck, failed, passed, skipped, within, writing } from './check.ts';
import { ignoredPreflight, kubeadmConfig, podNetwork } from './kubeadm.ts';
import type { BootTarget } from './target.ts';

const configFile = '/run/kina-test/kubeadm.conf';

/** kubeadm needs minutes where other checks need seconds. */
const initSeconds = 240;

/** The version, once the node has the configuration for it; undefined for an image without kubeadm. */
async function configure(node: BootTarget): Promise<string | undefined> {
  const answer = await node.exec('kubeadm version --output short', within(node, 20));
  const version = answer.stdout.trim();
  if (answer.code !== 0 || !version) return undefined;
  await node.exec(writing(configFile, kubeadmConfig(version, initSeconds * node.patience)));
  return version;
}

export const preflight: BootCheck = {
  id: 'preflight',
  title: "kubeadm's own preflight checks pass",
  needs: ['containerd'],
  async run(node) {
    const version = await configure(node);
    if (version === undefined) return skipped('the image has no kubeadm');
    // Only this check needs crictl, and images may omit it.
    const crictl = (await node.exec('command -v crictl')).code === 0;
    const ignored = `--ignore-preflight-errors=${[...ignoredPreflight, ...(crictl ? [] : ['FileExisting-crictl'])].join(',')}`;
    const ran = await node.exec(
      `kubeadm init phase preflight --config ${configFile} ${ignored} 2>&1`,
      within(node, 60),
    );
    // Preflight runs all checks before it pulls images, which older versions of kubeadm do with crictl.
    const pulling = !crictl && /^\[preflight\] Pulling images/m.test(ran.stdout);
    if (ran.code !== 0 && !pulling) {
      const errors = [...ran.stdout.matchAll(/\[ERROR ([^\]]+)\]/g)].map((match) => match[1]);
      return failed(
        errors.length ? `kubeadm reports: ${errors.join(', ')}` : 'kubeadm failed before the preflight checks',
        ran,
      );
    }
    return passed(`kubeadm ${version}${crictl ? '' : ', without crictl, which the image lacks'}`);
  },
};

const init: BootCheck = {
  id: 'init',
  title: 'kubeadm init makes a control plane',
  needs: ['systemd', 'preflight'],
  init: true,
  async run(node) {
    const network = writing('/etc/cni/net.d/99-kina-test.conflist', podNetwork);
    await node.exec(`[ -n "$(ls /etc/cni/net.d 2>/dev/null)" ] || { ${network}; }`);
    // Preflight has already run; CoreDNS is skipped because some images lack it.
    const skip = '--skip-phases=preflight,addon/coredns';
    const ran = await node.exec(
      `kubeadm init --config ${configFile} --skip-token-print ${skip} 2>&1`,
      within(node, 1.5 * initSeconds),
    );
    if (ran.code === 0) return passed('API server, controller manager, scheduler and etcd answer');
    const journal = await node.exec(
      'journalctl --no-pager --lines 20 --unit containerd; journalctl --no-pager --lines 20 --unit kubelet',
    );
    return failed(`kubeadm init ended with ${ran.code}`, `${ran.stdout}\n${journal.stdout}`);
  },
};

const kubectl = 'kubectl --kubeconfig /etc/kubernetes/admin.conf';

const ready: BootCheck = {
  id: 'ready',
  title: 'the node becomes Ready',
  needs: ['init'],
  init: true,
  async run(node) {
    const { timeout } = within(node, 120);
    const waited = await node.exec(`${kubectl} wait --for=condition=Ready node --all --timeout=${timeout}s`, {
      timeout: timeout + 30,
    });
    if (waited.code !== 0) {
      const why = await node.exec(`${kubectl} describe nodes | sed -n '/^Conditions:/,/^Addresses:/p'`);
      const journal = await node.exec('journalctl --no-pager --lines 20 --unit kubelet');
      return failed('the node is not Ready', `${waited.stderr}\n${why.stdout}\n${journal.stdout}`);
    }
    const info = await node.exec(
      `${kubectl} get nodes --output jsonpath='{.items[0].status.nodeInfo.kubeletVersion} {.items[0].status.nodeInfo.containerRuntimeVersion}'`,
    );
    return passed(`kubelet ${info.stdout.trim().replace(' ', ', ')}`);
  },
};

export const initChecks: readonly BootCheck[] = [init, ready];
