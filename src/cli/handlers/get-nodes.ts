import { listNodes } from '../../cluster/state.ts';
import { answer, answerJson } from '../terminal/context.ts';
import { type ClusterFlags, nameOf, say, warnOfEnvironment } from './shared/cluster.ts';

interface GetFlags extends ClusterFlags {
  readonly allClusters: boolean;
  readonly json: boolean;
}

export async function run(flags: GetFlags): Promise<void> {
  warnOfEnvironment(flags);
  const name = nameOf(flags);
  const nodes = await listNodes({ provider: flags.provider, name: flags.allClusters ? undefined : name });
  if (flags.json)
    return answerJson(
      nodes.map(({ name, cluster, role, state, image, ipv4, ipv6, ports, provider }) => ({
        name,
        cluster,
        role,
        state,
        provider: provider.name,
        image,
        ipv4: ipv4 ?? null,
        ipv6: ipv6 ?? null,
        ports,
      })),
    );
  if (nodes.length === 0)
    return say(
      flags,
      flags.allClusters ? 'No kina nodes for any cluster.' : `No kina nodes found for cluster "${name}".`,
    );
  answer(nodes.map((node) => node.name).join('\n'));
}
