/**
 * Selects the provider: the requested one, the one that has the cluster, else the first that works. A client without a
 * daemon is installed but does not work, and is skipped.
 */
import { type Environment, processEnvironment } from '../host/environment.ts';
import { KinaError } from '../host/errors.ts';
import { didYouMean } from '../host/suggest.ts';
import { AppleProvider } from './apple.ts';
import { EngineProvider } from './engine.ts';
import { docker, podman } from './engines.ts';
import { type NodeStatus, type Provider, type ProviderName, providerNames } from './provider.ts';

const makers = {
  docker: () => new EngineProvider(docker),
  podman: () => new EngineProvider(podman),
  apple: () => new AppleProvider(),
} as const;

/** In order of preference. Apple's container exists only on macOS. */
export const preferredProviders: readonly ProviderName[] =
  process.platform === 'darwin' ? ['apple', 'docker', 'podman'] : ['docker', 'podman'];

/** The provider with a name, whether it works or not. Throws `usage` for an unknown name. */
export function providerNamed(name: string, where: string): Provider {
  if (!isProvider(name))
    throw new KinaError(
      'usage',
      `${where}: unknown provider ${JSON.stringify(name)}${didYouMean(name, providerNames)}`,
      {
        hint: `Providers: ${providerNames.join(', ')}.`,
      },
    );
  return makers[name as ProviderName]();
}

const isProvider = (name: string): boolean => (providerNames as readonly string[]).includes(name);

/** kind's variable, also with the prefix replaced, as in scripts that were adapted from kind. */
const kindVariables = ['KINA_EXPERIMENTAL_PROVIDER', 'KIND_EXPERIMENTAL_PROVIDER'] as const;

/** `VARIABLE=NAME` for a provider that kina does not have. Like kind, kina warns and ignores it. */
export function unknownKindProvider(env: Environment = processEnvironment()): string | undefined {
  const variable = kindVariables.find((name) => env[name]);
  const name = env[variable ?? ''];
  return name && !env.KINA_PROVIDER && !isProvider(name) ? `${variable}=${name}` : undefined;
}

/** The provider requested by flag or environment (KINA_PROVIDER, else kind's variable); undefined without a request. */
export function requestedProvider(
  flag: string | undefined,
  env: Environment = processEnvironment(),
): Provider | undefined {
  if (flag !== undefined) return providerNamed(flag, '--provider');
  if (env.KINA_PROVIDER) return providerNamed(env.KINA_PROVIDER, 'KINA_PROVIDER');
  const kinds = kindVariables.map((name) => env[name]).find(Boolean);
  return kinds && isProvider(kinds) ? providerNamed(kinds, 'environment') : undefined;
}

/** All providers that work, in order of preference, and the problems of the others. */
async function tryProviders(): Promise<{ working: Provider[]; problems: string[] }> {
  const problems: string[] = [];
  const tried = await Promise.all(
    preferredProviders.map(async (name) => {
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
  return { working: tried.filter((one) => one !== undefined), problems: problems.sort() };
}

/** Throws `provider`, with the problem of each, when none works. */
async function workingProviders(): Promise<Provider[]> {
  const { working, problems } = await tryProviders();
  if (working.length > 0) return working;
  throw new KinaError('provider', 'no container engine works on this machine', {
    details: problems,
    hint: `Install ${process.platform === 'darwin' ? "Apple's container" : 'podman or docker'}, or start its service. --provider NAME shows more about one.`,
  });
}

/** The provider for a new cluster. Throws `provider`, with the problem of each, when none works. */
export async function selectProvider(flag: string | undefined, env?: Environment): Promise<Provider> {
  const asked = requestedProvider(flag, env);
  if (asked) return asked;
  return (await workingProviders())[0]!;
}

/** The provider that a creation would use; undefined when none works here. Throws `usage` for an unknown name. */
export async function plannedProvider(flag: string | undefined, env?: Environment): Promise<Provider | undefined> {
  return requestedProvider(flag, env) ?? (await tryProviders()).working[0];
}

/** The providers to search for clusters: the requested one, else all that work. Throws like `selectProvider`. */
export async function providersToSearch(flag: string | undefined, env?: Environment): Promise<Provider[]> {
  const asked = requestedProvider(flag, env);
  return asked ? [asked] : workingProviders();
}

/** The provider that has the nodes of a cluster; undefined if the cluster does not exist. */
export async function findCluster(
  name: string,
  flag: string | undefined,
  env?: Environment,
): Promise<{ provider: Provider; nodes: NodeStatus[] } | undefined> {
  for (const provider of await providersToSearch(flag, env)) {
    const nodes = await provider.nodes(name);
    if (nodes.length > 0) return { provider, nodes };
  }
  return undefined;
}
