/**
 * Selects the provider: the requested one, the one that has the cluster, or the first one that works. Installed is not
 * enough: a docker client without a daemon is skipped.
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

/** The provider of this name, working or not; throws `usage` for an unknown name. */
export function providerNamed(name: string, where: string): Provider {
  if (!isProvider(name))
    throw new KinaError(
      'usage',
      `${where}: there is no provider ${JSON.stringify(name)}${didYouMean(name, providerNames)}`,
      {
        hint: `Providers: ${providerNames.join(', ')}.`,
      },
    );
  return makers[name as ProviderName]();
}

const isProvider = (name: string): boolean => (providerNames as readonly string[]).includes(name);

/** Kind's variable, and what becomes of it in a script where the word was replaced. */
const kindVariables = ['KINA_EXPERIMENTAL_PROVIDER', 'KIND_EXPERIMENTAL_PROVIDER'] as const;

/** Which of them names what kina has not, `VARIABLE=NAME`: kind goes on without it then, and says so. */
export function unknownKindProvider(env: Environment = processEnvironment()): string | undefined {
  const variable = kindVariables.find((name) => env[name]);
  const name = env[variable ?? ''];
  return name && !env.KINA_PROVIDER && !isProvider(name) ? `${variable}=${name}` : undefined;
}

/** The provider in the flag or the environment (KINA_PROVIDER, else the variable of kind); undefined if neither is set. */
export function requestedProvider(
  flag: string | undefined,
  env: Environment = processEnvironment(),
): Provider | undefined {
  if (flag !== undefined) return providerNamed(flag, '--provider');
  if (env.KINA_PROVIDER) return providerNamed(env.KINA_PROVIDER, 'KINA_PROVIDER');
  const kinds = kindVariables.map((name) => env[name]).find(Boolean);
  return kinds && isProvider(kinds) ? providerNamed(kinds, 'environment') : undefined;
}

/** All providers that answer, in the order of preference, and what is wrong with the others. */
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

/** At least one. Throws `provider` that says of each why it does not work. */
async function workingProviders(): Promise<Provider[]> {
  const { working, problems } = await tryProviders();
  if (working.length > 0) return working;
  throw new KinaError('provider', 'no container engine works here', {
    details: problems,
    hint: `Install ${process.platform === 'darwin' ? "Apple's container" : 'podman or docker'}, or start its service; --provider NAME says more about one.`,
  });
}

/** A provider to create with. Throws `provider` that says of each why it does not work. */
export async function selectProvider(flag: string | undefined, env?: Environment): Promise<Provider> {
  const asked = requestedProvider(flag, env);
  if (asked) return asked;
  return (await workingProviders())[0]!;
}

/** The provider that a creation would use; undefined when none works here. Throws `usage` for an unknown name. */
export async function plannedProvider(flag: string | undefined, env?: Environment): Promise<Provider | undefined> {
  return requestedProvider(flag, env) ?? (await tryProviders()).working[0];
}

/** The providers to look for clusters on: the one that was asked for, else all that answer. Throws like `selectProvider`. */
export async function providersToSearch(flag: string | undefined, env?: Environment): Promise<Provider[]> {
  const asked = requestedProvider(flag, env);
  return asked ? [asked] : workingProviders();
}

/** The provider that has a cluster's nodes, and the nodes; undefined when none has. */
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
