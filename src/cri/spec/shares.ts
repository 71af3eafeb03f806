/**
 * Folders of the host that sandboxes see. A container's mounts are known only when it is created, but a folder cannot be added
 * to a running virtual machine. So whole folders (mainly the kubelet's) are shared when the sandbox is created, and a
 * container's mount is a path below one of them. In the sandbox they appear below `/host`, with their path on the host.
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
 * Converts a host path to its path in the sandbox. Links are resolved on the host, because a link that leaves the shared folder
 * would have a different target in the sandbox. Throws FAILED_PRECONDITION when the path is not shared, NOT_FOUND when it is
 * missing.
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
