import { listClusters } from '../../cluster/state.ts';
import { answer, answerJson, type GlobalFlags } from '../terminal/context.ts';
import { say, warnOfEnvironment } from './shared/cluster.ts';

interface GetFlags extends GlobalFlags {
  readonly provider: string | undefined;
  readonly json: boolean;
}

export async function run(flags: GetFlags): Promise<void> {
  warnOfEnvironment(flags);
  const clusters = await listClusters({ provider: flags.provider });
  if (flags.json)
    return answerJson(
      clusters.map(({ name, provider, nodes }) => ({
        name,
        provider: provider.name,
        nodes: nodes.length,
        running: nodes.filter((node) => node.state === 'running').length,
      })),
    );
  if (clusters.length === 0) return say(flags, 'No kina clusters found.');
  answer([...new Set(clusters.map((one) => one.name))].join('\n'));
}
