/** `kina create cluster`: checks everything, then gets the image, then creates the cluster. */

import { readdir } from 'node:fs/promises';
import type { Cluster } from '../../cluster/config/cluster.ts';
import { provisionCluster } from '../../cluster/create.ts';
import { ensureImage } from '../../cluster/image.ts';
import { clusterKubeconfig } from '../../cluster/kubeconfig/admin.ts';
import { mergeKubeconfig, removeFromKubeconfig } from '../../cluster/kubeconfig/kubeconfig.ts';
import { contextName } from '../../cluster/names.ts';
import { KinaError } from '../../host/errors.ts';
import { processCount } from '../../host/process.ts';
import { defaultTag } from '../../oci/node-conventions.ts';
import { hostPlatform } from '../../oci/platform.ts';
import { parseReference } from '../../oci/reference.ts';
import { buildAndTag, newestVersion } from '../../ops/node-image.ts';
import type { Provider } from '../../provider/provider.ts';
import { plannedProvider, requestedProvider, selectProvider } from '../../provider/select.ts';
import type { MirrorFlags } from '../flags.ts';
import { answer, answerJson, type GlobalFlags, withProgress } from '../terminal/context.ts';
import { warn } from '../terminal/stderr.ts';
import { duration, readCluster, warnOfEnvironment, withSteps } from './shared/cluster.ts';
import { sessionFor } from './shared/session.ts';

interface CreateFlags extends MirrorFlags, GlobalFlags {
  readonly name: string | undefined;
  readonly config: string | undefined;
  readonly image: string | undefined;
  readonly build: string | undefined;
  readonly kernel: string | undefined;
  readonly rosetta: boolean;
  readonly retain: boolean;
  readonly dryRun: boolean;
  readonly allowEvenControlPlanes: boolean;
  readonly wait: string;
  readonly kubeconfig: string | undefined;
  readonly provider: string | undefined;
  readonly json: boolean;
}

export async function run(flags: CreateFlags): Promise<void> {
  const wait = duration(flags.wait, '--wait');
  if (flags.image !== undefined && flags.build !== undefined)
    throw new KinaError('usage', '--image and --build cannot be used together');
  if (flags.image) parseReference(flags.image);
  const cluster = await readCluster(flags.config, {
    ...(flags.name ? { name: flags.name } : {}),
    ...(flags.image ? { image: flags.image } : {}),
    ...(flags.kernel ? { kernel: flags.kernel } : {}),
    ...(flags.rosetta ? { rosetta: true } : {}),
    allowEvenControlPlanes: flags.allowEvenControlPlanes,
  });
  for (const warning of cluster.warnings) warn(warning);
  warnOfEnvironment(flags);
  // As with the name: flag, then environment, then file.
  const wanted = flags.provider ?? requestedProvider(undefined)?.name ?? cluster.provider;
  if (flags.dryRun) {
    const planned = await plannedProvider(wanted);
    refuseVmFlags(flags, planned);
    return showPlan(cluster, planned?.name, flags);
  }
  const provider = await selectProvider(wanted);
  refuseVmFlags(flags, provider);
  const image = await nodeImage(cluster, flags);

  let written = false;
  const work = withSteps(flags, async (steps, signal) => {
    steps.info(`Creating cluster ${JSON.stringify(cluster.name)} on ${provider.name} ...`);
    const tools = await sessionFor(flags, { warn: steps.warn, info: steps.info }, signal);
    const made = await provisionCluster({
      cluster,
      provider,
      image,
      wait,
      retain: flags.retain,
      steps,
      signal,
      buildLoadBalancerImage: () =>
        buildAndTag({ recipe: 'load-balancer', source: undefined, platform: hostPlatform() }, tools),
      ensureImage: (reference, say) =>
        ensureImage(reference, { provider, store: tools.store, platform: hostPlatform(), signal, say }),
      writeKubeconfig: async (adminConf, server) => {
        const text = clusterKubeconfig(adminConf, { name: contextName(cluster.name), server });
        try {
          await mergeKubeconfig(text, { explicit: flags.kubeconfig });
          written = true;
        } catch (error) {
          throw new KinaError('cluster', 'cannot write the kubeconfig', {
            details: [error instanceof Error ? error.message : String(error)],
            hint: error instanceof KinaError ? (error.hint ?? '') : '',
            cause: error,
          });
        }
      },
    });
    steps.debug(1, `${processCount()} calls of ${provider.name}`);
    return made;
  });
  const context = contextName(cluster.name);
  const created = await work.catch(async (error) => {
    // The nodes have been deleted, so their kubeconfig entry goes too.
    if (written && !flags.retain) await removeFromKubeconfig(context, { explicit: flags.kubeconfig });
    throw error;
  });
  if (flags.json)
    return answerJson({
      name: cluster.name,
      provider: provider.name,
      kubernetes: created.kubernetes,
      context,
      server: created.server,
      nodes: created.nodes.map(({ name, role, ipv4, ipv6 }) => ({ name, role, ipv4, ipv6 })),
    });
  if (flags.quiet) return;
  const kubeconfig = flags.kubeconfig ? ` --kubeconfig ${flags.kubeconfig}` : '';
  process.stderr.write(
    `Set kubectl context to "${context}"\nYou can now use your cluster with:\n\nkubectl cluster-info --context ${context}${kubeconfig}\n`,
  );
}

/** A file may be shared with machines that have these features; a flag is meant for this one. */
function refuseVmFlags(flags: CreateFlags, provider: Provider | undefined): void {
  if (!provider) return;
  const { nodeKernel, rosetta } = provider.capabilities;
  const given = flags.kernel && !nodeKernel ? '--kernel' : flags.rosetta && !rosetta ? '--rosetta' : undefined;
  if (!given) return;
  throw new KinaError(
    'usage',
    `${given} requires nodes in virtual machines; on ${provider.name} they share the kernel of the host`,
    {
      hint: 'Use Apple container: --provider apple, on a Mac.',
    },
  );
}

/** The image of nodes without an image in the configuration. Built here if needed, to show the progress of the build. */
async function nodeImage(cluster: Cluster, flags: CreateFlags): Promise<string> {
  const everyNodeHasOne = cluster.nodes.every((node) => node.image !== undefined);
  if (flags.image !== undefined || everyNodeHasOne) return flags.image ?? cluster.nodes[0]!.image!;
  return withProgress(flags, async (reporter, signal) => {
    const tools = await sessionFor(flags, { warn: reporter.warn, info: reporter.info }, signal);
    const source = flags.build ?? (await newestVersion());
    // Without --build, an image with the default name in the store is used without a look at upstream.
    const known = defaultTag('node', source);
    if (flags.build === undefined && (await tools.store.resolve(known))) return known;
    reporter.info(`Building the node image for ${source}`);
    const request = (await isRecipe(source)) ? { recipe: source, source: undefined } : { recipe: 'node', source };
    return buildAndTag({ ...request, platform: hostPlatform() }, tools);
  });
}

/** `--build` takes a version or a recipe; a recipe is a file, or one of the shipped names. */
async function isRecipe(source: string): Promise<boolean> {
  if (/\.ya?ml$/.test(source) || source.includes('/')) return !/^(https?:|ci\/)/.test(source);
  const { recipesFolder } = await import('../../build/recipe/load.ts');
  return (await readdir(recipesFolder)).includes(`${source}.yaml`);
}

async function showPlan(cluster: Cluster, provider: string | undefined, flags: CreateFlags): Promise<void> {
  if (!provider) warn('no container engine works on this machine');
  const image = flags.image ?? (flags.build ? `(build ${flags.build})` : defaultTag('node', await newestVersion()));
  const { warnings: _warnings, ...resolved } = cluster;
  const plan = {
    ...resolved,
    provider: provider ?? null,
    nodes: cluster.nodes.map((node) => ({ ...node, image: node.image ?? image })),
  };
  if (flags.json) return answerJson(plan);
  const { stringify } = await import('yaml');
  answer(stringify(plan));
}
