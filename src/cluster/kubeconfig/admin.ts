/**
 * kubeadm's `admin.conf` as the kubeconfig of a cluster on this machine. It names its entries `kubernetes` and
 * `kubernetes-admin` in every cluster there is; side by side in one file they need names of their own.
 */
import { isMap, type YAMLMap } from 'yaml';
import { KinaError } from '../../host/errors.ts';
import { entriesOf, kubeconfigText, parseKubeconfig, sections } from './document.ts';

/** Fields that point to files, which are in the node and not here. */
const fileFields: Readonly<Record<string, readonly string[]>> = {
  clusters: ['certificate-authority'],
  contexts: [],
  users: ['client-certificate', 'client-key', 'tokenFile'],
};

/**
 * Exactly one cluster, user and context, all called `name`, and `server` (`https://HOST:PORT`) as the cluster's address.
 * Throws `kubeconfig` when `adminConf` does not hold one of each that belong together, or credentials are not inside.
 */
export function clusterKubeconfig(adminConf: string, { name, server }: { name: string; server: string }): string {
  const from = parseKubeconfig(adminConf, 'the admin.conf of the control plane');
  const refuse = (reason: string) =>
    new KinaError('kubeconfig', `${from.origin} is not as kubeadm writes it: ${reason}`, {
      hint: 'See /etc/kubernetes/admin.conf in the node.',
    });
  const only = (section: keyof typeof sections): YAMLMap => {
    const [entry, ...others] = entriesOf(from, section);
    const body = entry?.get(sections[section]);
    if (!entry || others.length > 0) throw refuse(`${others.length + (entry ? 1 : 0)} ${section}, not one`);
    if (!isMap(body)) throw refuse(`the entry of ${section} has no ${sections[section]}`);
    const field = fileFields[section]!.find((key) => entry.hasIn([sections[section], key]));
    if (field) throw refuse(`${field} names a file; credentials must be in the document`);
    return entry;
  };
  const cluster = only('clusters');
  const context = only('contexts');
  const user = only('users');
  for (const [key, entry] of Object.entries({ cluster, user }))
    if (context.getIn(['context', key]) !== entry.get('name'))
      throw refuse(`the context is about the ${key} ${context.getIn(['context', key])}, which is not there`);

  cluster.setIn(['cluster', 'server'], server);
  context.setIn(['context', 'cluster'], name);
  context.setIn(['context', 'user'], name);
  for (const entry of [cluster, context, user]) entry.set('name', name);
  from.root.set('current-context', name);
  return kubeconfigText(from);
}
