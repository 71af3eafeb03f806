/** Loads images from any source into the nodes of a cluster. */
import { type LoadedNode, loadImages } from '../../../cluster/load/load.ts';
import type { LoadSource } from '../../../cluster/load/sources.ts';
import { type ExistingCluster, openCluster } from '../../../cluster/state.ts';
import { KinaError } from '../../../host/errors.ts';
import { didYouMean } from '../../../host/suggest.ts';
import type { Store } from '../../../oci/store/store.ts';
import type { Provider } from '../../../provider/provider.ts';
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
  find: (store: Store, own: Provider) => Promise<readonly LoadSource[]>,
): Promise<void> {
  warnOfEnvironment(flags);
  const cluster = await openCluster(nameOf(flags), flags);
  const nodes = chosenNodes(cluster, flags.nodes);
  const store = await openStore();
  const sources = await find(store, cluster.provider);
  const results: LoadedNode[] = [];
  await withProgress(flags, async (reporter, signal) => {
    for (const source of sources)
      results.push(...(await loadImages(cluster.provider, nodes, source, reporter, signal)));
  });
  if (flags.json) return answerJson(results);
  if (!flags.quiet) process.stderr.write(`${results.map(summary).join('\n')}\n`);
}

function chosenNodes({ name, nodes }: ExistingCluster, list: string | undefined): string[] {
  const names = nodes.map((node) => node.name);
  const wanted = list === undefined ? names : list.split(',').filter(Boolean);
  const unknown = wanted.filter((one) => !names.includes(one));
  if (unknown.length > 0)
    throw new KinaError(
      'not-found',
      `unknown node: ${unknown.map((one) => `${one}${didYouMean(one, names)}`).join(', ')}`,
      {
        hint: `Cluster ${name} has ${names.join(', ')}.`,
      },
    );
  const stopped = nodes.filter((node) => wanted.includes(node.name) && node.status.state !== 'running');
  if (stopped.length > 0)
    throw new KinaError('cluster', `not running: ${stopped.map((node) => node.name).join(', ')}`, {
      hint: `Start the cluster with \`kina start cluster --name ${name}\`.`,
    });
  return wanted;
}

function summary({ node, loaded, right, sent, there }: LoadedNode): string {
  const parts = [
    ...(loaded.length > 0 ? [`loaded ${loaded.join(', ')} (${bytes(sent)} sent, ${bytes(there)} there already)`] : []),
    ...(right.length > 0 ? [`${right.join(', ')} already present`] : []),
  ];
  return `${node}: ${parts.join('; ')}`;
}
