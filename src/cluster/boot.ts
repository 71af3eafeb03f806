/**
 * Waits until nodes have booted. One shell inside the node polls systemd: polling from outside would cost a process of
 * the engine for each attempt, and the log says less.
 *
 * On cgroup v2 systemd cannot enable controllers while a process is in the root cgroup, where an early `exec` starts. The
 * shell therefore moves itself to systemd's init.scope as soon as that exists.
 */
import { KinaError } from '../host/errors.ts';
import type { Node } from './node.ts';

const script = `
attempts=$(($1 * 5))
while :; do
  [ ! -w /sys/fs/cgroup/init.scope/cgroup.procs ] || echo $$ >/sys/fs/cgroup/init.scope/cgroup.procs
  state=$(systemctl is-system-running)
  case $state in running | degraded | maintenance | stopping) break ;; esac
  attempts=$((attempts - 1))
  [ "$attempts" -gt 0 ] || break
  sleep 0.2
done 2>/dev/null
echo "$state"
cat /kind/version 2>/dev/null || :
echo
ps -o etimes= -p 1
[ "$state" = running ] || systemctl --failed --plain --no-legend --no-pager
[ "$state" = running ] || systemctl list-jobs --plain --no-legend --no-pager
`;

export interface Booted {
  /** `vX.Y.Z` of /kind/version. */
  readonly kubernetes: string;
  /** Start of the node by its own clock. */
  readonly since: Date;
  /** Units that failed without breaking the node, e.g. in images made for another runtime. */
  readonly failed: readonly string[];
}

/** Seconds. */
export const bootLimit = 180;

/** Throws `cluster` with the pending jobs of systemd, or with the log of a node that has exited. */
export async function waitForBoot(node: Node, seconds: number, signal?: AbortSignal): Promise<Booted> {
  const argv = ['sh', '-c', script, 'sh', String(seconds)];
  let result = await node.exec(argv, { signal, timeout: (seconds + 10) * 1000 });
  // Right after its start a node may refuse commands.
  for (let attempt = 0; result.code !== 0 && attempt < 5 && !result.stdout; attempt++) {
    await new Promise((done) => setTimeout(done, 300));
    result = await node.exec(argv, { signal, timeout: (seconds + 10) * 1000 });
  }
  const [state = '', kubernetes = '', age = '', ...units] = result.stdout.trim().split('\n');
  if (state === 'running' || state === 'degraded') {
    if (/^v\d+\.\d+\.\d+/.test(kubernetes))
      return {
        kubernetes,
        since: new Date(Date.now() - Number(age) * 1000 - 1000),
        failed: state === 'degraded' ? units.map((line) => line.split(/\s/)[0]!) : [],
      };
    throw new KinaError('cluster', `${node.status.image} is not a node image: /kind/version not found`, {
      hint: 'Build a node image with `kina build node-image`.',
    });
  }
  const log = (await node.provider.logs(node.name)).trim().split('\n').slice(-15);
  throw new KinaError('cluster', `node ${node.name} did not boot in ${seconds} s: ${state || 'no answer'}`, {
    details: [...units, ...(state ? [] : result.stderr.trim().split('\n')), ...log].filter(Boolean),
    hint: 'Keep the node for debugging with --retain; `kina image test` boots only the image.',
  });
}
