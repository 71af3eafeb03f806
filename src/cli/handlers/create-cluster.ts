import { processEnvironment } from '../../host/environment.ts';
import type { ClusterOptions } from '../../ops/cluster/create.ts';
import { createCluster, planCreation } from '../../ops/cluster/create.ts';
import type { MirrorFlags } from '../flags.ts';
import { answer, answerJson, type GlobalFlags } from '../terminal/context.ts';
import { withBuildAndSteps } from '../terminal/display.ts';
import { warn } from '../terminal/stderr.ts';
import { duration, readConfig, warnOfEnvironment } from './shared/cluster.ts';
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
  warnOfEnvironment(flags);
  const options = await clusterOptions(flags);
  if (flags.dryRun) return showPlan(options, flags);
  const created = await withBuildAndSteps(flags, async ({ reporter, steps }, signal) => {
    const session = await sessionFor(flags, reporter, signal);
    const { retain, kubeconfig } = flags;
    return createCluster({ ...session, ...options, signal, steps, wait, retain, kubeconfig });
  });
  const { name, provider, kubernetes, context, server, nodes } = created;
  if (flags.json)
    return answerJson({
      name,
      provider,
      kubernetes,
      context,
      server,
      nodes: nodes.map(({ name, role, ipv4, ipv6 }) => ({ name, role, ipv4, ipv6 })),
    });
  if (flags.quiet) return;
  const kubeconfig = flags.kubeconfig ? ` --kubeconfig ${flags.kubeconfig}` : '';
  process.stderr.write(
    `Set kubectl context to "${context}"\nYou can now use your cluster with:\n\nkubectl cluster-info --context ${context}${kubeconfig}\n`,
  );
}

async function clusterOptions(flags: CreateFlags): Promise<ClusterOptions> {
  const { name, image, build, kernel, rosetta, allowEvenControlPlanes, provider } = flags;
  const { file, text } = await readConfig(flags.config);
  return {
    name,
    config: file,
    configText: text,
    image,
    build,
    kernel,
    rosetta: rosetta || undefined,
    allowEvenControlPlanes,
    provider,
  };
}

async function showPlan(options: ClusterOptions, flags: CreateFlags): Promise<void> {
  const { cluster, provider, image } = await planCreation({ ...options, environment: processEnvironment() });
  const { warnings, ...resolved } = cluster;
  for (const warning of warnings) warn(warning);
  if (!provider) warn('no container engine works on this machine');
  const plan = {
    ...resolved,
    provider: provider?.name ?? null,
    nodes: cluster.nodes.map((node) => ({ ...node, image: node.image ?? image })),
  };
  if (flags.json) return answerJson(plan);
  const { stringify } = await import('yaml');
  answer(stringify(plan));
}
