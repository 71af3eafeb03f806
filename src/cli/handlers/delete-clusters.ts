import { deleteClusters, quoted } from '../../cluster/delete.ts';
import { KinaError } from '../../host/errors.ts';
import type { GlobalFlags } from '../terminal/context.ts';
import { say, warnOfEnvironment } from './shared/cluster.ts';

interface DeleteFlags extends GlobalFlags {
  readonly all: boolean;
  readonly kubeconfig: string | undefined;
  readonly provider: string | undefined;
}

export async function run(flags: DeleteFlags, names: string[]): Promise<void> {
  warnOfEnvironment(flags);
  if (!flags.all && names.length === 0)
    throw new KinaError('usage', 'no cluster names provided', { hint: 'Name clusters, or use --all.' });
  const { kubeconfig, provider } = flags;
  const { deleted, missing, failures } = await deleteClusters({
    clusters: flags.all ? 'all' : names,
    kubeconfig,
    provider,
    steps: { info: (text) => say(flags, text) },
  });
  for (const name of missing) say(flags, `No kina nodes found for cluster "${name}".`);
  if (deleted.length > 0) say(flags, `Deleted clusters: ${quoted(deleted)}`);
  else if (flags.all && failures.length === 0) say(flags, 'No kina clusters found.');
  if (failures.length > 0) throw new KinaError('cluster', 'some clusters could not be deleted', { details: failures });
}
