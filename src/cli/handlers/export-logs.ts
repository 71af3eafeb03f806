import { exportLogs } from '../../cluster/logs.ts';
import { KinaError } from '../../host/errors.ts';
import { version } from '../../session/version.ts';
import { answer } from '../terminal/context.ts';
import { type ClusterFlags, nameOf, say, warnOfEnvironment } from './shared/cluster.ts';

export async function run(flags: ClusterFlags, target: string | undefined): Promise<void> {
  warnOfEnvironment(flags);
  const name = nameOf(flags);
  const { folder, problems } = await exportLogs({ name, provider: flags.provider, folder: target, version });
  say(flags, `Exported logs for cluster "${name}" to:`);
  answer(folder);
  if (problems.length > 0) throw new KinaError('cluster', 'some logs could not be exported', { details: problems });
}
