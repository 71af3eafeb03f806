/** What a build works with: one store, one transport, one reporter. Made once per command. */
import { join } from 'node:path';
import type { ResolveOptions } from '../artifacts/checksums.ts';
import { Fetcher } from '../artifacts/fetch.ts';
import { type ArchiveBases, archivePrefixes, checkedBase, defaultBases } from '../debian/archive.ts';
import { KinaError } from '../host/errors.ts';
import { cacheDirectory, configFile } from '../host/files.ts';
import { Transport } from '../host/http.ts';
import type { Reporter } from '../host/progress.ts';
import { readUserConfig, type UserConfig } from '../host/user-config.ts';
import { registryLogins } from '../oci/registry-credentials.ts';
import { insecureHosts } from '../oci/registry-reference.ts';
import { Store } from '../oci/store.ts';
import { Unpacker } from '../tree/unpack.ts';

export interface ToolboxOptions {
  readonly reporter: Reporter;
  readonly signal?: AbortSignal | undefined;
  readonly mirrors?: readonly string[] | undefined;
  readonly debianMirror?: string | undefined;
  readonly debianSecurityMirror?: string | undefined;
  readonly offline?: boolean | undefined;
  /** Registries that speak plain HTTP, `HOST[:PORT]`. */
  readonly insecureRegistries?: readonly string[] | undefined;
  readonly version: string;
}

export interface Toolbox {
  readonly store: Store;
  readonly transport: Transport;
  readonly fetcher: Fetcher;
  readonly unpacker: Unpacker;
  readonly reporter: Reporter;
  readonly signal: AbortSignal | undefined;
  readonly offline: boolean;
  readonly debianBases: ArchiveBases;
  /** False where the mirror is frozen on purpose, so that its indexes expire. */
  readonly debianCheckValidUntil: boolean;
  readonly checksums: ResolveOptions;
  /** kina's own version. */
  readonly version: string;
}

/** How kina reaches the outside: what flags, environment and the user's config file say, in this order. */
export async function openConnection(
  options: Omit<ToolboxOptions, 'reporter'>,
): Promise<Pick<Toolbox, 'transport' | 'debianBases'> & { readonly config: UserConfig }> {
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
  const transport = new Transport({
    mirrors: options.mirrors?.length ? options.mirrors : (environmentMirrors ?? config.mirrors ?? []),
    hostMirrors: { ...config.hosts, ...insecureHosts(options.insecureRegistries ?? []) },
    prefixes: archivePrefixes(debianBases),
    offline: options.offline ?? false,
    userAgent: `kina/${options.version}`,
    findLogin: registryLogins(),
    signal,
  });
  return { transport, debianBases, config };
}

export async function openToolbox(options: ToolboxOptions): Promise<Toolbox> {
  const { reporter, signal } = options;
  const { transport, debianBases, config } = await openConnection(options);
  const store = await Store.open(cacheDirectory());
  const fetcher = new Fetcher({ store, transport, reporter, signal });
  return {
    store,
    transport,
    fetcher,
    unpacker: new Unpacker(join(store.root, 'unpacked')),
    reporter,
    signal,
    offline: options.offline ?? false,
    debianBases,
    debianCheckValidUntil:
      checkValidUntil(process.env.KINA_DEBIAN_CHECK_VALID_UNTIL) ?? config.debian?.checkValidUntil ?? true,
    checksums: { transport, store, reporter, signal },
    version: options.version,
  };
}

/** The same tools, with nothing unpacked yet: archives are unpacked into `folder`, which is the caller's to remove. */
export function withoutUnpacked(tools: Toolbox, folder: string): Toolbox {
  return { ...tools, unpacker: new Unpacker(folder) };
}

function checkValidUntil(value: string | undefined): boolean | undefined {
  if (value === undefined || value === '') return undefined;
  if (value === 'true' || value === 'false') return value === 'true';
  throw new KinaError('usage', `KINA_DEBIAN_CHECK_VALID_UNTIL is ${JSON.stringify(value)}`, {
    hint: 'Set it to false for a mirror that is frozen on purpose, or leave it unset.',
  });
}
