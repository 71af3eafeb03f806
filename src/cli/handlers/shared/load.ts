import type { LoadedNode } from '../../../cluster/load/load.ts';
import { type LoadIntoClusterOptions, loadIntoCluster } from '../../../cluster/load-images.ts';
import { answerJson, withProgress } from '../../terminal/context.ts';
import { bytes } from '../../terminal/format.ts';
import { type ClusterFlags, nameOf, warnOfEnvironment } from './cluster.ts';
import { openStore } from './store.ts';

export interface LoadFlags extends ClusterFlags {
  readonly nodes: string | undefined;
  readonly json: boolean;
}

export async function load(
  flags: LoadFlags,
  sources: Pick<LoadIntoClusterOptions, 'images' | 'archives'>,
): Promise<void> {
  warnOfEnvironment(flags);
  const name = nameOf(flags);
  const nodes = flags.nodes?.split(',').filter(Boolean);
  const store = await openStore();
  const results = await withProgress(flags, (reporter, signal) =>
    loadIntoCluster({ name, provider: flags.provider, ...sources, nodes, store, reporter, signal }),
  );
  if (flags.json) return answerJson(results);
  if (!flags.quiet) process.stderr.write(`${results.map(summary).join('\n')}\n`);
}

function summary({ node, loaded, right, sent, there }: LoadedNode): string {
  const parts = [
    ...(loaded.length > 0 ? [`loaded ${loaded.join(', ')} (${bytes(sent)} sent, ${bytes(there)} there already)`] : []),
    ...(right.length > 0 ? [`${right.join(', ')} already present`] : []),
  ];
  return `${node}: ${parts.join('; ')}`;
}
