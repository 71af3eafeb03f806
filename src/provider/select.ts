/**
 * Which provider: the one that was asked for, the one that has the cluster, else the first that works. Installed is not
 * working: a docker client without a daemon is passed over.
 */
import { KinaError } from '../host/errors.ts';
import { didYouMean } from '../host/suggest.ts';
import { EngineProvider } from './engine.ts';
import { docker, podman } from './engines.ts';
import { type NodeStatus, type Provider, type ProviderName, providerNames } from './provider.ts';

const differences = { docker, podman } as const;

/** The provider of a name, working or not; throws `usage` for a name that is none. */
export function providerNamed(name: string, where: string): Provider {
  if (!(providerNames as readonly string[]).includes(name))
    throw new KinaError(
      'usage',
      `${where}: there is no provider ${JSON.stringify(name)}${didYouMean(name, providerNames)}`,
      {
        hint: `Providers: ${providerNames.join(', ')}.`,
      },
    );
  return new EngineProvider(differences[name as ProviderName]);
}

/** Asked for by flag or environment (KINA_PROVIDER, else kind's variable); undefined when nobody did. */
export function requestedProvider(
  flag: string | undefined,
  env: NodeJS.ProcessEnv = process.env,
): Provider | undefined {
  if (flag !== undefined) return providerNamed(flag, '--provider');
  for (const variable of ['KINA_PROVIDER', 'KIND_EXPERIMENTAL_PROVIDER'])
    if (env[variable]) return providerNamed(env[variable], variable);
  return undefined;
}

/** All providers that answer, in the order of preference. */
async function workingProviders(): Promise<{ working: Provider[]; problems: string[] }> {
  const problems: string[] = [];
  const tried = await Promise.all(
    (['docker', 'podman'] as const).map(async (name) => {
      const provider = providerNamed(name, 'provider');
      try {
        await provider.version();
        return provider;
      } catch (error) {
        problems.push(`${name}: ${error instanceof KinaError ? [error.message, ...error.details].join(': ') : error}`);
        return undefined;
      }
    }),
  );
  return { working: tried.filter((one) => one !== undefined), problems };
}

/** A provider to create with. Throws `provider` that says of each why it does not work. */
export async function selectProvider(flag: string | undefined, env?: NodeJS.ProcessEnv): Promise<Provider> {
  const asked = requestedProvider(flag, env);
  if (asked) return asked;
  const { working, problems } = await workingProviders();
  if (working[0]) return working[0];
  throw new KinaError('provider', 'no container engine works here', {
    details: problems,
    hint: 'Install podman or docker, or start its service; --provider NAME says more about one.',
  });
}

/** The providers to look for clusters on: the one that was asked for, else all that answer. */
export async function providersToSearch(flag: string | undefined, env?: NodeJS.ProcessEnv): Promise<Provider[]> {
  const asked = requestedProvider(flag, env);
  if (asked) return [asked];
  return (await workingProviders()).working;
}

/** The provider that has a cluster's nodes, and the nodes; undefined when none has. */
export async function findCluster(
  name: string,
  flag: string | undefined,
  env?: NodeJS.ProcessEnv,
): Promise<{ provider: Provider; nodes: NodeStatus[] } | undefined> {
  for (const provider of await providersToSearch(flag, env)) {
    const nodes = await provider.nodes(name);
    if (nodes.length > 0) return { provider, nodes };
  }
  return undefined;
}
