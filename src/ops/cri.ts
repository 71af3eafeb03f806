/** The use case of `kina cri serve`: the CRI service with a provider, the store and a connection to registries. */
import { ImageLibrary } from '../cri/images/library.ts';
import type { CriOptions } from '../cri/runtime/options.ts';
import { type RunningService, startService } from '../cri/serve.ts';
import type { Environment } from '../host/environment.ts';
import { KinaError } from '../host/errors.ts';
import { cacheDirectory } from '../host/files.ts';
import { silent } from '../host/progress.ts';
import { hostPlatform } from '../oci/platform.ts';
import { Store } from '../oci/store/store.ts';
import { selectProvider } from '../provider/select.ts';
import { openConnection, type SourceOptions } from '../session/connection.ts';

/** What flags, environment and settings file say, checked and complete. JSON can hold it. */
export interface CriSettings extends SourceOptions, Omit<CriOptions, 'provider' | 'sandboxImage' | 'version' | 'log'> {
  /** Absolute path of the Unix socket. */
  readonly socket: string;
  /** Default: as for clusters. */
  readonly provider?: string | undefined;
  /** Use this image instead of building one. */
  readonly sandboxImage?: string | undefined;
}

export interface ServeCriOptions extends CriSettings {
  /** Name of a sandbox image that the provider has. Default: `sandboxImage`, or one that is built, is loaded here. */
  readonly loadedSandboxImage?: string | undefined;
  readonly environment: Environment;
  /** kina's version. */
  readonly version: string;
  /** Cancels startup and pulls. It does not stop the service: `close` does. */
  readonly signal: AbortSignal;
  log(line: string): void;
}

/** Starts the service. Throws `provider` if the provider cannot run sandboxes, `conflict` if the socket or root is in use. */
export async function serveCri(options: ServeCriOptions): Promise<RunningService> {
  const { root, socket, environment, log } = options;
  const provider = await selectProvider(options.provider, environment);
  await provider.version();
  if ((await provider.host()).rootless)
    throw new KinaError('provider', `${provider.name} is rootless: it cannot run sandboxes`, {
      hint: 'A sandbox mounts image disks, which requires root on Linux. Run the engine and kina cri as root.',
    });
  const sandboxImage = options.loadedSandboxImage ?? (await loadSandboxImage(options));
  const { network } = await openConnection(options);
  const images = await ImageLibrary.open({
    root,
    store: await Store.open(cacheDirectory(environment)),
    platform: hostPlatform(),
    network,
  });
  return startService({ ...options, provider, sandboxImage, log }, images, socket);
}

/** Imported only here: building an image takes memory that a service never gives back. */
async function loadSandboxImage(options: ServeCriOptions): Promise<string> {
  const { openSession } = await import('../session/session.ts');
  const { sandboxImage } = await import('./sandbox-image.ts');
  const { log } = options;
  const reporter = { ...silent, info: log, warn: (message: string) => log(`WARNING: ${message}`) };
  return sandboxImage(options, await openSession({ ...options, reporter }), log);
}
