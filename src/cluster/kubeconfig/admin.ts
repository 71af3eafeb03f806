/**
 * Converts kubeadm's `admin.conf` to a kubeconfig for this machine. Its entries have the same names in every cluster,
 * `kubernetes` and `kubernetes-admin`; in one kubeconfig they need unique names.
 */
import { isMap, type YAMLMap } from 'yaml';
import { KinaError } from '../../host/errors.ts';
import { entriesOf, kubeconfigText, parseKubeconfig, sections } from './document.ts';

/** Fields with paths of files in the node. */
const fileFields: Readonly<Record<string, readonly string[]>> = {
  clusters: ['certificate-authority'],
  contexts: [],
  users: ['client-certificate', 'client-key', 'tokenFile'],
};

/**
 * Returns a kubeconfig with one cluster, user and context called `name`, and the address `server` (`https://HOST:PORT`).
 * Throws `kubeconfig` if `adminConf` has not exactly one of each, or refers to files.
 */
export function clusterKubeconfig(adminConf: string, { name, server }: { name: string; server: string }): string {
  const from = parseKubeconfig(adminConf, 'the admin.conf of the control plane');
  const refuse = (reason: string) =>
    new KinaError('kubeconfig', `unexpected content of ${from.origin}: ${reason}`, {
      hint: 'Check /etc/kubernetes/admin.conf in the node.',
    });
  const only = (section: keyof typeof sections): YAMLMap => {
    const [entry, ...others] = entriesOf(from, section);
    const body = entry?.get(sections[section]);
    if (!entry || others.length > 0)
      throw refuse(`expected one entry in ${section}, got ${others.length + (entry ? 1 : 0)}`);
    if (!isMap(body)) throw refuse(`the entry of ${section} has no ${sections[section]}`);
    const field = fileFields[section]!.find((key) => entry.hasIn([sections[section], key]));
    if (field) throw refuse(`${field} refers to a file; credentials must be embedded`);
    return entry;
  };
  const cluster = only('clusters');
  const context = only('contexts');
  const user = only('users');
  for (const [key, entry] of Object.entries({ cluster, user }))
    if (context.getIn(['context', key]) !== entry.get('name'))
      throw refuse(`${key} ${context.getIn(['context', key])} of the context not found`);

  cluster.setIn(['cluster', 'server'], server);
  context.setIn(['context', 'cluster'], name);
  context.setIn(['context', 'user'], name);
  for (const entry of [cluster, context, user]) entry.set('name', name);
  from.root.set('current-context', name);
  return kubeconfigText(from);
}
