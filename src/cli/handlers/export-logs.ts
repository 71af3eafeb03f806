import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { exportLogs } from '../../cluster/logs.ts';
import { openCluster } from '../../cluster/state.ts';
import { KinaError } from '../../host/errors.ts';
import { answer, version } from '../terminal/context.ts';
import { type ClusterFlags, nameOf, say, warnOfEnvironment } from './shared/cluster.ts';

export async function run(flags: ClusterFlags, folder: string | undefined): Promise<void> {
  warnOfEnvironment(flags);
  const name = nameOf(flags);
  const cluster = await openCluster(name, flags);
  const target = folder ? resolve(folder) : await mkdtemp(join(tmpdir(), 'kina-logs-'));
  say(flags, `Exporting logs for cluster "${name}" to:`);
  answer(target);
  const problems = await exportLogs(cluster, target, `kina version ${version}`);
  if (problems.length > 0) throw new KinaError('cluster', 'not everything could be exported', { details: problems });
}
