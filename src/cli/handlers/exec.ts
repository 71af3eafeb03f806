import { listClusters } from '../../cluster/state.ts';
import { KinaError } from '../../host/errors.ts';
import { didYouMean } from '../../host/suggest.ts';
import type { GlobalFlags } from '../terminal/context.ts';
import { warnOfEnvironment } from './shared/cluster.ts';

interface ExecFlags extends GlobalFlags {
  readonly provider: string | undefined;
}

export async function run(flags: ExecFlags, node: string, command: string[]): Promise<void> {
  warnOfEnvironment(flags);
  const clusters = await listClusters(flags);
  const nodes = clusters.flatMap((one) => one.nodes.map((status) => ({ status, provider: one.provider })));
  const found = nodes.find(({ status }) => status.name === node);
  if (!found)
    throw new KinaError(
      'not-found',
      `unknown node: ${JSON.stringify(node)}${didYouMean(
        node,
        nodes.map(({ status }) => status.name),
      )}`,
    );
  process.exitCode = await found.provider.attach(node, command);
}
