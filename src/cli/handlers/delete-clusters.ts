import { listClusters } from '../../cluster/state.ts';
import { KinaError } from '../../host/errors.ts';
import { quoted, say, warnOfEnvironment } from './shared/cluster.ts';
import { type DeleteFlags, removeEverywhere } from './shared/delete.ts';

export async function run(flags: DeleteFlags & { readonly all: boolean }, names: string[]): Promise<void> {
  warnOfEnvironment(flags);
  const wanted = flags.all ? (await listClusters(flags)).map((one) => one.name) : names;
  if (wanted.length === 0) {
    if (flags.all) return say(flags, 'No kina clusters found.');
    throw new KinaError('usage', 'no cluster names provided', { hint: 'Name clusters, or use --all.' });
  }
  const [deleted, failed]: [string[], string[]] = [[], []];
  for (const name of new Set(wanted))
    try {
      if (await removeEverywhere(name, flags)) deleted.push(name);
      else say(flags, `No kina nodes found for cluster "${name}".`);
    } catch (error) {
      failed.push(`${name}: ${error instanceof Error ? error.message : error}`);
    }
  if (deleted.length > 0) say(flags, `Deleted clusters: ${quoted(deleted)}`);
  if (failed.length > 0) throw new KinaError('cluster', 'not all clusters could be deleted', { details: failed });
}
