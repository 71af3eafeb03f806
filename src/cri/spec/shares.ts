/**
 * Folders of the host that sandboxes see. Mounts come when a container is created, and a virtual machine cannot be given
 * a folder then: whole folders (that of the kubelet, above all) are shared when the sandbox is made, and a container's
 * mount is a path below one of them. In the sandbox they are below `/host`, with their own path.
 */
import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno } from '../../host/errors.ts';
import { inSandbox } from '../agent/protocol.ts';
import { RpcError } from '../api/status.ts';

/** True when `path` is `folder` or below it. */
export const isBelow = (path: string, folder: string): boolean =>
  folder === '/' || path === folder || path.startsWith(`${folder}/`);

export const sharedPath = (path: string): string => join(inSandbox.host, path);

/** Removes paths that are below another path of the list. */
export function outermost(folders: readonly string[]): string[] {
  const all = [...new Set(folders)].sort();
  return all.filter((folder) => !all.some((other) => other !== folder && isBelow(folder, other)));
}

/**
 * Where the sandbox has a path of the host, links resolved on the host: one that leaves what is shared would lead
 * elsewhere in the sandbox. Throws FAILED_PRECONDITION when it is not shared, NOT_FOUND when it is not there.
 */
export async function pathInSandbox(hostPath: string, shares: readonly string[], what: string): Promise<string> {
  let real: string;
  try {
    real = await realpath(hostPath);
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ENOTDIR')) throw error;
    throw new RpcError('NOT_FOUND', `${what}: ${hostPath} is not there`);
  }
  if (shares.some((share) => isBelow(real, share))) return sharedPath(real);
  throw new RpcError(
    'FAILED_PRECONDITION',
    `${what}: ${real} is not shared with sandboxes; kina cri serve --share ${real} shares it (now: ${shares.join(', ')})`,
  );
}
