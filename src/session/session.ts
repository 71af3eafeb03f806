/**
 * What every command works with: one store, one transport, one reporter, one signal. Made once per command by
 * `openSession`, which reads the environment and the user's configuration; what works with a session extends it.
 */
import { join } from 'node:path';
import type { ResolveOptions } from '../artifacts/checksums.ts';
import { Fetcher } from '../artifacts/fetch.ts';
import type { ArchiveBases } from '../debian/archive.ts';
import { type Environment, processEnvironment } from '../host/environment.ts';
import { KinaError } from '../host/errors.ts';
import { cacheDirectory } from '../host/files.ts';
import { Transport } from '../host/http.ts';
import { type Reporter, silent } from '../host/progress.ts';
import { Store } from '../oci/store/store.ts';
import { Unpacker } from '../tree/unpack.ts';
import { type ConnectionOptions, directNetwork, openConnection } from './connection.ts';
import { version } from './version.ts';

/** Everything has a default. */
export interface SessionOptions extends Partial<ConnectionOptions> {
  /** Default: the variables of this process. */
  readonly environment?: Environment;
  /** Gets progress and warnings. Default: `silent`. */
  readonly reporter?: Reporter;
}

export interface Session {
  readonly environment: Environment;
  readonly store: Store;
  readonly transport: Transport;
  /** For uploads: mirrors are for reading, so this one goes to the registry that was named. */
  readonly uploads: Transport;
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

/** Throws `usage` for an invalid setting, `store` when the store's folder cannot be used. */
export async function openSession(given: SessionOptions = {}): Promise<Session> {
  const options = { reporter: silent, environment: processEnvironment(), version, ...given };
  const { environment, reporter, signal } = options;
  const { transport, debianBases, config } = await openConnection(options);
  const store = await Store.open(cacheDirectory(environment));
  const fetcher = new Fetcher({ store, transport, reporter, signal });
  return {
    environment,
    store,
    transport,
    uploads: new Transport(directNetwork(options)),
    fetcher,
    unpacker: new Unpacker(join(store.root, 'unpacked')),
    reporter,
    signal,
    offline: options.offline ?? false,
    debianBases,
    debianCheckValidUntil:
      checkValidUntil(environment.KINA_DEBIAN_CHECK_VALID_UNTIL) ?? config.debian?.checkValidUntil ?? true,
    checksums: { transport, store, reporter, signal },
    version: options.version,
  };
}

/** The same session with nothing unpacked yet: archives are unpacked into `folder`, which the caller removes. */
export function withoutUnpacked(session: Session, folder: string): Session {
  return { ...session, unpacker: new Unpacker(folder) };
}

function checkValidUntil(value: string | undefined): boolean | undefined {
  if (value === undefined || value === '') return undefined;
  if (value === 'true' || value === 'false') return value === 'true';
  throw new KinaError('usage', `KINA_DEBIAN_CHECK_VALID_UNTIL is ${JSON.stringify(value)}`, {
    hint: 'Set it to false for a mirror that is frozen on purpose, or leave it unset.',
  });
}
