/**
 * Which kubeconfig files there are, as kubectl sees it (client-go, tools/clientcmd/config.go: PathOptions). A file named
 * by flag is the only one. `$KUBECONFIG` is a list: all are read, the first one wins entry by entry, and new entries go
 * into the first that exists, or into the last when none does. Else there is `~/.kube/config`.
 */

import { stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { type Environment, processEnvironment } from '../../host/environment.ts';

/** Where a kubeconfig is looked for. */
export interface KubeconfigChoice {
  /** The `--kubeconfig` flag; empty counts as unset. */
  readonly explicit?: string | undefined;
  /** For `KUBECONFIG` and `HOME`; the process's own by default. */
  readonly env?: Environment;
}

/** At least one path, in the order in which kubectl reads them, without repetitions; they need not exist. */
export function kubeconfigPaths(explicit?: string, env: Environment = processEnvironment()): string[] {
  if (explicit) return [explicit];
  const listed = (env.KUBECONFIG ?? '').split(delimiter).filter((path) => path !== '');
  return listed.length > 0 ? [...new Set(listed)] : [join(env.HOME || homedir(), '.kube', 'config')];
}

/** The one that new entries go into. */
export async function kubeconfigDestination({ explicit, env }: KubeconfigChoice): Promise<string> {
  const paths = kubeconfigPaths(explicit, env);
  for (const path of paths) if (await stat(path).catch(() => undefined)) return path;
  return paths.at(-1)!;
}
