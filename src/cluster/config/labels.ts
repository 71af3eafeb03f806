/**
 * The labels in the namespaces of Kubernetes that a kubelet may set on its node. It does not start with any other label in
 * them, and the node never becomes Ready (kubernetes pkg/kubelet/apis/well_known_labels.go, flag --node-labels).
 */

const ownNames = new Set([
  'kubernetes.io/hostname',
  'kubernetes.io/os',
  'kubernetes.io/arch',
  'beta.kubernetes.io/os',
  'beta.kubernetes.io/arch',
  'beta.kubernetes.io/instance-type',
  'node.kubernetes.io/instance-type',
  'topology.kubernetes.io/zone',
  'topology.kubernetes.io/region',
  'failure-domain.beta.kubernetes.io/zone',
  'failure-domain.beta.kubernetes.io/region',
  'failure-domain.kubernetes.io/zone',
  'failure-domain.kubernetes.io/region',
]);
const ownNamespaces = ['kubelet.kubernetes.io', 'node.kubernetes.io'];

const name = /^[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?$/;
const dnsName = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/;

/** Why kubelet refuses the label; undefined if it does not. */
export function labelProblem(key: string, value: string): string | undefined {
  const [last = '', namespace, ...more] = key.split('/').reverse();
  if (more.length > 0 || !name.test(last) || (namespace !== undefined && !dnsName.test(namespace)))
    return `invalid label name ${JSON.stringify(key)}: expected a name such as tier or example.com/tier`;
  if (value !== '' && !name.test(value))
    return `label ${key}: invalid value ${JSON.stringify(value)}: expected up to 63 letters, digits, "-", "_" and "."`;
  const within = (domain: string) => namespace === domain || namespace?.endsWith(`.${domain}`);
  const reserved = within('kubernetes.io') || within('k8s.io');
  if (!reserved || ownNames.has(key) || ownNamespaces.some(within)) return undefined;
  return `label ${key}: kubelet cannot set labels of ${namespace}; use kubectl label when the cluster is running`;
}
