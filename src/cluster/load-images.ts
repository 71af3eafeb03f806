/** Loads images into the nodes of a running cluster. */
import { KinaError } from '../host/errors.ts';
import type { Reporter } from '../host/progress.ts';
import { didYouMean } from '../host/suggest.ts';
import type { Store } from '../oci/store/store.ts';
import { providersToSearch } from '../provider/select.ts';
import { type LoadedNode, loadImages } from './load/load.ts';
import { archiveSource, findSources } from './load/sources.ts';
import { type ClusterOption, type ExistingCluster, openCluster } from './state.ts';

export interface LoadIntoClusterOptions extends ClusterOption {
  /** Names of images in the store or in an engine. */
  readonly images?: readonly string[];
  /** Paths of image archives. */
  readonly archives?: readonly string[];
  /** Names of nodes. Default: all nodes. */
  readonly nodes?: readonly string[] | undefined;
  readonly store: Store;
  readonly reporter: Reporter;
  readonly signal?: AbortSignal | undefined;
}

/** One result for each node and source. Throws `not-found` for an unknown image or node. */
export async function loadIntoCluster(options: LoadIntoClusterOptions): Promise<LoadedNode[]> {
  const { archives = [], images = [], reporter, signal, store } = options;
  const cluster = await openCluster(options);
  const nodes = runningNodes(cluster, options.nodes);
  const sources = [...new Set(archives)].map((file) => archiveSource(store, file));
  if (images.length > 0) {
    const own = cluster.provider;
    // The provider of the cluster comes first: people build images for the cluster there.
    const others = (await providersToSearch(undefined, options.environment)).filter(({ name }) => name !== own.name);
    sources.push(...(await findSources(images, store, [own, ...others])));
  }
  const loaded: LoadedNode[] = [];
  for (const source of sources) loaded.push(...(await loadImages(cluster.provider, nodes, source, reporter, signal)));
  return loaded;
}

function runningNodes({ name, nodes }: ExistingCluster, wanted: readonly string[] | undefined): string[] {
  const names = nodes.map((node) => node.name);
  const chosen = wanted ?? names;
  const unknown = chosen.filter((one) => !names.includes(one));
  if (unknown.length > 0)
    throw new KinaError(
      'not-found',
      `unknown node: ${unknown.map((one) => `${one}${didYouMean(one, names)}`).join(', ')}`,
      { hint: `Nodes of cluster ${name}: ${names.join(', ')}.` },
    );
  const stopped = nodes.filter((node) => chosen.includes(node.name) && node.status.state !== 'running');
  if (stopped.length > 0)
    throw new KinaError('cluster', `not running: ${stopped.map((node) => node.name).join(', ')}`, {
      hint: `Start the cluster with \`kina start cluster --name ${name}\`.`,
    });
  return [...chosen];
}
