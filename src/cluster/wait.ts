/**
 * Waits until a cluster is usable: all nodes are Ready and all workloads in kube-system are available. kubectl waits on
 * the control plane, in one call, with watches of the API server. A timeout reports what is not ready and why.
 *
 * After a restart the API server still has the old conditions: a node whose kubelet has not reported since the node
 * started, and a pod whose containers are older than its node, are not ready, whatever their status says. The script
 * checks that last, once a second.
 *
 * The Ready condition of static pods is ignored: kubeadm restarts kubelet at the end of `init`, and kubelet 1.20 reports a
 * successful startup probe only with its next sync of all pods (60 to 90 s after everything worked). The script checks
 * instead that their containers have been running since the start of the node.
 */
import { KinaError } from '../host/errors.ts';
import { kubectl, type Node } from './node.ts';

const script = `
export KUBECONFIG=/etc/kubernetes/admin.conf
end=$(($(date +%s) + $1))
started=$2
shift 2
left() { l=$((end - $(date +%s))); [ "$l" -gt 0 ] && echo "$l"; }
# kubectl fails when an object does not exist yet: retry
again() { until "$@" --timeout="$(left)s"; do left >/dev/null || exit 3; sleep 1; done; }
fresh() {
  kubectl get nodes,pods --all-namespaces --output json | jq --null-input --exit-status --argjson started "$started" '
    def ready: any(.status.conditions[]?; .type == "Ready" and .status == "True");
    # the condition of static pods lags, see above; they work when nodes get Ready and daemons roll out
    def static: .status.phase == "Running" and any(.metadata.ownerReferences[]?; .kind == "Node");
    # --null-input and input: with empty input jq 1.6 would succeed
    input | all(.items[];
      if .kind == "Node" then
        ($started[.metadata.name] // "") as $start
        | ready and all(.status.conditions[]; .type != "Ready" or .lastHeartbeatTime >= $start)
      elif .metadata.namespace != "kube-system" or .status.phase == "Succeeded" then true
      else
        ($started[.spec.nodeName // ""] // "") as $start
        | (ready or static) and all(.status.containerStatuses[]?; (.state.running.startedAt // "") >= $start)
      end)'
}
{
  again kubectl wait --for=condition=Ready "$@"
  for workload in $(kubectl --namespace kube-system get deployments,daemonsets --output name); do
    again kubectl --namespace kube-system rollout status "$workload"
  done
  until fresh; do left || exit 3; sleep 1; done
} >&2
`;

/** A node that must become Ready. */
export interface AwaitedNode {
  readonly name: string;
  /** Start of the node. */
  readonly since: Date;
}

/** Waits `wait` seconds at most, and reports how long it took. */
export async function waitAndReport(
  controlPlane: Node,
  { awaited, wait, signal }: { awaited: readonly AwaitedNode[]; wait: number; signal: AbortSignal },
  say: (note: string) => void,
): Promise<void> {
  const started = performance.now();
  await waitForCluster(controlPlane, awaited, wait, signal);
  say(`ready after ${Math.round((performance.now() - started) / 1000)} s`);
}

/** Throws `cluster` with the reasons after a timeout. */
export async function waitForCluster(
  controlPlane: Node,
  awaited: readonly AwaitedNode[],
  seconds: number,
  signal?: AbortSignal,
): Promise<void> {
  // the API server writes times without fractions of a second
  const started = new Map(awaited.map(({ name, since }) => [name, since.toISOString().replace(/\.\d+Z/, 'Z')]));
  const nodes = [...started.keys()].map((name) => `node/${name}`);
  const settings = [String(Math.ceil(seconds)), JSON.stringify(Object.fromEntries(started))];
  const argv = ['sh', '-c', script, 'sh', ...settings, ...nodes];
  const result = await controlPlane.exec(argv, { signal, timeout: (seconds + 30) * 1000 });
  if (result.code === 0) return;
  // 3: the timeout of the script; any other code is a failure, e.g. of a node that was stopped
  if (result.code !== 3 && !result.timedOut) throw controlPlane.failure(argv, result);
  throw new KinaError('cluster', `the cluster is not ready after ${seconds} s`, {
    details: await reasons(controlPlane, started),
    hint: 'If the machine is slow, use a longer --wait. To investigate, use --retain, kubectl and `kina export logs`.',
  });
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
  readonly lastHeartbeatTime?: string;
}
interface Item {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly spec?: { readonly nodeName?: string };
  readonly status?: {
    readonly phase?: string;
    readonly conditions?: readonly Condition[];
    readonly containerStatuses?: readonly {
      readonly name: string;
      readonly state?: {
        readonly waiting?: { readonly reason?: string; readonly message?: string };
        readonly running?: { readonly startedAt?: string };
      };
    }[];
  };
}

/** Start time by node, in the format of the API server. */
type Started = ReadonlyMap<string, string>;

/** One line for each node and each pod in kube-system that is not ready. */
async function reasons(controlPlane: Node, started: Started): Promise<string[]> {
  const argv = kubectl(['get', 'nodes,pods', '--all-namespaces', '--output=json', '--request-timeout=15s']);
  const answer = await controlPlane.exec(argv, { timeout: 30_000 });
  if (answer.code !== 0) return [`the API server does not answer: ${answer.stderr.trim()}`];
  const items = (JSON.parse(answer.stdout) as { items: Item[] }).items;
  const missing = [...started.keys()].filter(
    (name) => !items.some((item) => item.kind === 'Node' && item.metadata.name === name),
  );
  return [
    ...missing.map((name) => `node ${name} has not joined`),
    ...items.flatMap((item) => reason(item, started)),
  ].slice(0, 30);
}

function reason(item: Item, started: Started): string[] {
  const condition = (type: string) => item.status?.conditions?.find((one) => one.type === type);
  const said = (one: Condition | undefined) => [one?.reason, one?.message].filter(Boolean).join(': ');
  const ready = condition('Ready');
  const { name, namespace } = item.metadata;
  if (item.kind === 'Node') {
    if (ready?.status !== 'True') return [`node ${name} is not Ready: ${said(ready)}`];
    const silent = (ready.lastHeartbeatTime ?? '') < (started.get(name) ?? '');
    return silent ? [`node ${name} has not reported since it started`] : [];
  }
  if (namespace !== 'kube-system' || item.status?.phase === 'Succeeded') return [];
  if (ready?.status === 'True') {
    const since = started.get(item.spec?.nodeName ?? '') ?? '';
    const old = item.status?.containerStatuses?.some(({ state }) => (state?.running?.startedAt ?? since) < since);
    return old ? [`pod ${name} (${item.spec?.nodeName}) has not been restarted with its node`] : [];
  }
  const waiting = item.status?.containerStatuses?.flatMap(({ name, state }) =>
    state?.waiting ? [`${name} is waiting: ${state.waiting.reason} ${state.waiting.message ?? ''}`.trim()] : [],
  );
  const scheduled = condition('PodScheduled');
  const why = waiting?.length ? waiting.join('; ') : said(scheduled?.status === 'False' ? scheduled : ready);
  return [`pod ${name} (${item.spec?.nodeName ?? 'no node'}) is not ready: ${why}`];
}
