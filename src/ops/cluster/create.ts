/** Creates a cluster: reads the configuration, chooses the provider, gets the image, creates the nodes, writes the kubeconfig. */
import { type Cluster, loadCluster } from '../../cluster/config/cluster.ts';
import { type ProvisionedCluster, provisionCluster } from '../../cluster/create.ts';
import { ensureImage } from '../../cluster/image.ts';
import { clusterKubeconfig } from '../../cluster/kubeconfig/admin.ts';
import { mergeKubeconfig, removeFromKubeconfig } from '../../cluster/kubeconfig/kubeconfig.ts';
import { contextName } from '../../cluster/names.ts';
import type { Environment } from '../../host/environment.ts';
import { KinaError } from '../../host/errors.ts';
import { processCount } from '../../host/process.ts';
import type { Steps } from '../../host/progress.ts';
import { hostPlatform } from '../../oci/platform.ts';
import { parseReference } from '../../oci/reference.ts';
import type { Provider } from '../../provider/provider.ts';
import { plannedProvider, requestedProvider, selectProvider } from '../../provider/select.ts';
import type { Session } from '../../session/session.ts';
import { buildImage } from '../build-image.ts';
import { nodeImage, plannedImage } from './image.ts';

/** What the cluster is like. All of it is optional: the default is one node with the latest Kubernetes. */
export interface ClusterOptions {
  /** Path of a configuration file. With `configText`, only the name of the text in messages. */
  readonly config?: string | undefined;
  /** Text of a configuration, YAML. */
  readonly configText?: string | undefined;
  readonly name?: string | undefined;
  /** Image of all nodes. Excludes `build`. */
  readonly image?: string | undefined;
  /** Kubernetes version or recipe of the image to build. */
  readonly build?: string | undefined;
  /** Path of the kernel of all nodes; only for nodes in virtual machines. */
  readonly kernel?: string | undefined;
  /** Run amd64 programs with Rosetta; only for nodes in virtual machines. */
  readonly rosetta?: boolean | undefined;
  /** Allow an even number of control planes. */
  readonly allowEvenControlPlanes?: boolean | undefined;
  /** `podman`, `docker` or `apple`. Default: from the environment, the configuration, else the first that works. */
  readonly provider?: string | undefined;
}

export interface ClusterPlan {
  readonly cluster: Cluster;
  /** Undefined when no provider works on this machine. */
  readonly provider: Provider | undefined;
  /** Image of the nodes that do not name one. */
  readonly image: string;
}

/** Checks everything that can be checked without creating anything. Throws `usage`, `config` or `not-found`. */
export async function planCreation(
  options: ClusterOptions & { readonly environment: Environment },
): Promise<ClusterPlan> {
  const cluster = readCluster(options);
  const provider = await plannedProvider(requestedName(cluster, options), options.environment);
  if (provider) checkMachineOptions(options, provider);
  return { cluster, provider, image: await plannedImage(cluster, options) };
}

export interface CreateClusterOptions extends ClusterOptions, Session {
  readonly steps: Steps;
  readonly signal: AbortSignal;
  /** Seconds to wait for a usable cluster; 0 skips waiting. */
  readonly wait: number;
  /** Keep the nodes when creation fails. */
  readonly retain?: boolean | undefined;
  /** Path of the kubeconfig file. Default: as kubectl finds it. */
  readonly kubeconfig?: string | undefined;
}

export interface CreatedCluster extends ProvisionedCluster {
  readonly name: string;
  readonly provider: string;
  /** Name of the context in the kubeconfig. */
  readonly context: string;
}

/** Creates a cluster. After a failure nothing is left behind unless `retain` is set. */
export async function createCluster(options: CreateClusterOptions): Promise<CreatedCluster> {
  const { steps, signal, store, wait, retain = false } = options;
  const cluster = readCluster(options);
  for (const warning of cluster.warnings) steps.warn(warning);
  const provider = await selectProvider(requestedName(cluster, options), options.environment);
  checkMachineOptions(options, provider);
  const image = await nodeImage(cluster, options, options);
  steps.info(`Creating cluster ${JSON.stringify(cluster.name)} on ${provider.name} ...`);
  const platform = hostPlatform();
  const kubeconfig = new ClusterEntry(contextName(cluster.name), options);
  try {
    const created = await provisionCluster({
      environment: options.environment,
      cluster,
      provider,
      image,
      wait,
      retain,
      steps,
      signal,
      buildLoadBalancerImage: async () => (await buildImage({ ...options, recipe: 'load-balancer' })).names[0]!,
      ensureImage: (reference, say) => ensureImage(reference, { provider, store, platform, signal, say }),
      writeKubeconfig: (adminConf, server) => kubeconfig.write(adminConf, server),
    });
    steps.debug(1, `${processCount()} calls of ${provider.name}`);
    return { ...created, name: cluster.name, provider: provider.name, context: kubeconfig.context };
  } catch (error) {
    if (!retain) await kubeconfig.remove();
    throw error;
  }
}

function readCluster(options: ClusterOptions & { readonly environment: Environment }): Cluster {
  const { image, build, config, configText, name, kernel, rosetta, allowEvenControlPlanes, environment } = options;
  if (image !== undefined && build !== undefined)
    throw new KinaError('usage', '--image and --build cannot be used together');
  if (image !== undefined) parseReference(image);
  return loadCluster({
    text: configText,
    file: config,
    overrides: { name, image, kernel, rosetta, allowEvenControlPlanes },
    cwd: process.cwd(),
    env: environment,
  });
}

/** The option wins over the environment, and the environment over the configuration, as for names. */
function requestedName(
  cluster: Cluster,
  { provider, environment }: ClusterOptions & { readonly environment: Environment },
): string | undefined {
  return provider ?? requestedProvider(undefined, environment)?.name ?? cluster.provider;
}

/** In a configuration, which may serve several machines, these keys are ignored with a warning. Options are refused. */
function checkMachineOptions({ kernel, rosetta }: ClusterOptions, { name, capabilities }: Provider): void {
  const option = kernel && !capabilities.nodeKernel ? '--kernel' : rosetta && !capabilities.rosetta && '--rosetta';
  if (!option) return;
  throw new KinaError(
    'usage',
    `${option} requires nodes in virtual machines; on ${name} they share the kernel of the host`,
    {
      hint: 'Use Apple container: --provider apple, on a Mac.',
    },
  );
}

/** The entry of the cluster in the kubeconfig file. */
class ClusterEntry {
  readonly context: string;
  readonly #choice: { readonly explicit: string | undefined; readonly env: Environment };
  #written = false;

  constructor(context: string, { kubeconfig, environment }: CreateClusterOptions) {
    this.context = context;
    this.#choice = { explicit: kubeconfig, env: environment };
  }

  async write(adminConf: string, server: string): Promise<void> {
    try {
      await mergeKubeconfig(clusterKubeconfig(adminConf, { name: this.context, server }), this.#choice);
      this.#written = true;
    } catch (error) {
      throw new KinaError('cluster', 'cannot write the kubeconfig', {
        details: [error instanceof Error ? error.message : String(error)],
        hint: error instanceof KinaError ? (error.hint ?? '') : '',
        cause: error,
      });
    }
  }

  /** An entry for deleted nodes would be useless. */
  async remove(): Promise<void> {
    if (this.#written) await removeFromKubeconfig(this.context, this.#choice);
  }
}
