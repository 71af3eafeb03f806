/** How kina reaches the outside: mirrors, proxies, logins. Commands that only pull need this much of a session. */
import { type ArchiveBases, archivePrefixes, checkedBase, defaultBases } from '../debian/archive.ts';
import { type Environment, proxiesOf } from '../host/environment.ts';
import { configFile } from '../host/files.ts';
import { Transport, type TransportOptions } from '../host/http.ts';
import { readUserConfig, type UserConfig } from '../host/user-config.ts';
import { insecureHosts } from '../oci/reference.ts';
import { registryLogins } from '../oci/registry/credentials.ts';

/** Where things are fetched from. Named as the flags are, so that a command hands its flags over as they are. */
export interface SourceOptions {
  /** Base URLs: `https://HOST/PATH` is fetched from `URL/HOST/PATH`. Tried in order. */
  readonly mirror?: readonly string[] | undefined;
  /** Base URL of Debian's archive. */
  readonly debianMirror?: string | undefined;
  /** Base URL of Debian's security updates. */
  readonly debianSecurityMirror?: string | undefined;
  /** Use only what the store holds. */
  readonly offline?: boolean | undefined;
  /** Registries that speak plain HTTP, `HOST[:PORT]`. */
  readonly insecureRegistry?: readonly string[] | undefined;
}

export interface ConnectionOptions extends SourceOptions {
  readonly environment: Environment;
  readonly signal?: AbortSignal | undefined;
  /** kina's version, for the user agent. */
  readonly version: string;
}

export interface Connection {
  readonly transport: Transport;
  /** The options of `transport`, for callers that need a second one. */
  readonly network: TransportOptions;
  readonly debianBases: ArchiveBases;
  readonly config: UserConfig;
}

/** Options win over environment variables, and those over the user's configuration file. */
export async function openConnection(options: ConnectionOptions): Promise<Connection> {
  const { environment } = options;
  const config = await readUserConfig(configFile(environment));
  const debianBases = await basesOf(options, config);
  const fromEnvironment = environment.KINA_MIRROR ? [environment.KINA_MIRROR] : undefined;
  const network: TransportOptions = {
    ...directNetwork(options),
    mirrors: options.mirror?.length ? options.mirror : (fromEnvironment ?? config.mirrors ?? []),
    hostMirrors: { ...config.hosts, ...insecureHosts(options.insecureRegistry ?? []) },
    prefixes: archivePrefixes(debianBases),
    offline: options.offline ?? false,
  };
  return { transport: new Transport(network), network, debianBases, config };
}

/** Without mirrors: uploads go to the registry that was named. */
export function directNetwork({ environment, version, signal, insecureRegistry }: ConnectionOptions): TransportOptions {
  return {
    hostMirrors: insecureHosts(insecureRegistry ?? []),
    userAgent: `kina/${version}`,
    findLogin: registryLogins(environment),
    proxies: proxiesOf(environment),
    signal,
  };
}

/** The base URL of each Debian archive, from the weakest source to the strongest. */
async function basesOf(options: ConnectionOptions, { debian }: UserConfig): Promise<ArchiveBases> {
  const { environment } = options;
  const bases: Record<string, string> = { ...(await defaultBases()) };
  const set = (archive: string, value: string | undefined, origin: string): void => {
    if (value) bases[archive] = checkedBase(value, origin);
  };
  set('debian', debian?.mirror, 'debian.mirror in the config file');
  set('debian-security', debian?.securityMirror, 'debian.securityMirror in the config file');
  set('debian', environment.KINA_DEBIAN_MIRROR, 'KINA_DEBIAN_MIRROR');
  set('debian-security', environment.KINA_DEBIAN_SECURITY_MIRROR, 'KINA_DEBIAN_SECURITY_MIRROR');
  set('debian', options.debianMirror, '--debian-mirror');
  set('debian-security', options.debianSecurityMirror, '--debian-security-mirror');
  return bases;
}
