/** How kina reaches the outside, and nothing of what it does there: also for who only pulls. */
import { type ArchiveBases, archivePrefixes, checkedBase, defaultBases } from '../debian/archive.ts';
import { configFile } from '../host/files.ts';
import { Transport, type TransportOptions } from '../host/http.ts';
import { readUserConfig, type UserConfig } from '../host/user-config.ts';
import { insecureHosts } from '../oci/reference.ts';
import { registryLogins } from '../oci/registry/credentials.ts';

export interface ConnectionOptions {
  readonly signal?: AbortSignal | undefined;
  readonly mirrors?: readonly string[] | undefined;
  readonly debianMirror?: string | undefined;
  readonly debianSecurityMirror?: string | undefined;
  readonly offline?: boolean | undefined;
  /** Registries that speak plain HTTP, `HOST[:PORT]`. */
  readonly insecureRegistries?: readonly string[] | undefined;
  /** kina's own. */
  readonly version: string;
}

export interface Connection {
  readonly transport: Transport;
  /** What `transport` was made of, for who needs another one. */
  readonly network: TransportOptions;
  readonly debianBases: ArchiveBases;
  readonly config: UserConfig;
}

/** What flags, environment and the user's config file say, in this order. */
export async function openConnection(options: ConnectionOptions): Promise<Connection> {
  const { signal } = options;
  const config = await readUserConfig(configFile());
  const environmentMirrors = process.env.KINA_MIRROR ? [process.env.KINA_MIRROR] : undefined;
  const configured: Record<string, string> = {};
  if (config.debian?.mirror && !process.env.KINA_DEBIAN_MIRROR)
    configured.debian = checkedBase(config.debian.mirror, 'debian.mirror in the config file');
  if (config.debian?.securityMirror && !process.env.KINA_DEBIAN_SECURITY_MIRROR)
    configured['debian-security'] = checkedBase(
      config.debian.securityMirror,
      'debian.securityMirror in the config file',
    );
  const debianBases: ArchiveBases = {
    ...(await defaultBases()),
    ...configured,
    ...(options.debianMirror ? { debian: checkedBase(options.debianMirror, '--debian-mirror') } : {}),
    ...(options.debianSecurityMirror
      ? { 'debian-security': checkedBase(options.debianSecurityMirror, '--debian-security-mirror') }
      : {}),
  };
  const network: TransportOptions = {
    mirrors: options.mirrors?.length ? options.mirrors : (environmentMirrors ?? config.mirrors ?? []),
    hostMirrors: { ...config.hosts, ...insecureHosts(options.insecureRegistries ?? []) },
    prefixes: archivePrefixes(debianBases),
    offline: options.offline ?? false,
    userAgent: `kina/${options.version}`,
    findLogin: registryLogins(),
    signal,
  };
  return { transport: new Transport(network), network, debianBases, config };
}
