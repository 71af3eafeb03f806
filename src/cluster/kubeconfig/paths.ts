/**
 * Finds kubeconfig files like kubectl (client-go, tools/clientcmd/config.go: PathOptions): the file of the flag, else those
 * in `$KUBECONFIG`, else `~/.kube/config`. All files of `$KUBECONFIG` are read, the first one wins for each entry, and new
 * entries are written to the first file that exists, or to the last file.
 */

import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { type Environment, processEnvironment } from '../../host/environment.ts';

/** Which kubeconfig to use. */
export interface KubeconfigChoice {
  /** Value of `--kubeconfig`; an empty string counts as unset. */
  readonly explicit?: string | undefined;
  /** For `KUBECONFIG` and `HOME`. Default: the environment of the process. */
  readonly env?: Environment;
}

/** At least one path, in the order of kubectl, without duplicates. The files need not exist. */
export function kubeconfigPaths(explicit?: string, env: Environment = processEnvironment()): string[] {
  if (explicit) return [explicit];
  const listed = (env.KUBECONFIG ?? '').split(delimiter).filter((path) => path !== '');
  return listed.length > 0 ? [...new Set(listed)] : [join(env.HOME || homedir(), '.kube', 'config')];
}

/** The file for new entries. */
export async function kubeconfigDestination({ explicit, env }: KubeconfigChoice): Promise<string> {
  const paths = kubeconfigPaths(explicit, env);
  for (const path of paths) if (await stat(path).catch(() => undefined)) return path;
  return paths.at(-1)!;
}
