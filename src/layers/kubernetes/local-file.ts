/** What the sources on this machine share: files and folders that people name, and versions that are written in them. */
import { constants, createReadStream } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import semver from 'semver';
import { type Artifact, localArtifact } from '../../artifacts/artifact.ts';
import { KinaError } from '../../host/errors.ts';
import type { Store } from '../../oci/store/store.ts';

/** Whether a path, links followed, is a file or a folder; false if it does not exist. */
export async function isKind(path: string, kind: 'file' | 'directory'): Promise<boolean> {
  const info = await stat(path).catch(() => undefined);
  return kind === 'file' ? (info?.isFile() ?? false) : (info?.isDirectory() ?? false);
}

/** `v1.20.2` from `1.20.2`; throws if it is not a full version. */
export function fullVersion(text: string, where: string): string {
  const parsed = semver.parse(text.trim().replace(/^v/, ''));
  if (!parsed)
    throw new KinaError('usage', `${where}: ${JSON.stringify(text.trim().slice(0, 60))} is not a Kubernetes version`, {
      hint: 'A full version looks like v1.34.2.',
    });
  return `v${parsed.raw.replace(/^v/, '')}`;
}

/** Copies a file of this machine into the store, where it is immutable; the lock holds its digest, not its path. */
export async function importLocal(
  path: string,
  name: string,
  version: string | undefined,
  store: Store,
): Promise<Artifact> {
  await access(path, constants.R_OK).catch((error) => {
    throw new KinaError('usage', `${path} cannot be read: ${(error as Error).message}`, { cause: error });
  });
  const written = await store.write(createReadStream(path, { highWaterMark: 1 << 20 }));
  return localArtifact({ name, path, version }, written);
}
