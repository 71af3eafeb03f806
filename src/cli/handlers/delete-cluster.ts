import { type ClusterFlags, nameOf, say, warnOfEnvironment } from './shared/cluster.ts';
import { type DeleteFlags, removeEverywhere } from './shared/delete.ts';

export async function run(flags: ClusterFlags & DeleteFlags): Promise<void> {
  warnOfEnvironment(flags);
  const name = nameOf(flags);
  say(flags, `Deleting cluster "${name}" ...`);
  await removeEverywhere(name, flags);
}
