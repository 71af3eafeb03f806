/** The CRI service joined with what it needs from other rooms: the store, and how registries are reached. */

import { ImageLibrary } from '../cri/images/library.ts';
import type { CriOptions } from '../cri/runtime/options.ts';
import { type RunningService, serveCri } from '../cri/serve.ts';
import type { Environment } from '../host/environment.ts';
import { KinaError } from '../host/errors.ts';
import { cacheDirectory } from '../host/files.ts';
import { hostPlatform } from '../oci/platform.ts';
import { Store } from '../oci/store/store.ts';
import type { Provider } from '../provider/provider.ts';
import { selectProvider } from '../provider/select.ts';
import { openConnection } from '../session/connection.ts';

export interface CriSettings extends Omit<CriOptions, 'provider' | 'sandboxImage' | 'version' | 'log'> {
  readonly socket: string;
  readonly provider: string | undefined;
  readonly sandboxImage: string | undefined;
  readonly insecureRegistries: readonly string[];
  readonly mirrors: readonly string[];
  /** For the sandbox image alone: no pull reads Debian's archive. */
  readonly debianMirror: string | undefined;
  readonly debianSecurityMirror: string | undefined;
  readonly offline: boolean;
}

export interface ServedBy extends CriSettings {
  readonly sandboxImage: string;
  readonly version: string;
  readonly environment: Environment;
  log(line: string): void;
}

/** `signal` cancels what is being pulled when the service is to end. */
export async function startCri(settings: ServedBy, signal: AbortSignal): Promise<RunningService> {
  const provider: Provider = await selectProvider(settings.provider);
  await provider.version();
  if ((await provider.host()).rootless)
    throw new KinaError('provider', `${provider.name} runs without root here: its containers cannot be sandboxes`, {
      hint: 'A sandbox mounts the disks of images, which needs root on Linux. Run the engine and kina cri as root.',
    });
  const { environment, insecureRegistries, mirrors, offline, version } = settings;
  const { network } = await openConnection({
    insecureRegistry: insecureRegistries,
    mirror: mirrors,
    offline,
    environment,
    version,
    signal,
  });
  const images = await ImageLibrary.open({
    root: settings.root,
    store: await Store.open(cacheDirectory(environment)),
    platform: hostPlatform(),
    network,
  });
  return serveCri({ ...settings, provider }, images, settings.socket);
}
