/**
 * Waits until nodes have booted. systemd is asked, inside the node and in one call: a log line says less, and asking from
 * outside costs an engine process for each look.
 *
 * On cgroup v2 a process in the root cgroup keeps systemd from enabling controllers, and early `exec`s land there; the
 * waiting shell therefore moves itself away as soon as there is a place to go (systemd's own init.scope).
 */
import { KinaError } from '../host/errors.ts';
import type { Node } from './node.ts';

const script = `
looks=$(($1 * 5))
while :; do
  [ ! -w /sys/fs/cgroup/init.scope/cgroup.procs ] || echo $$ >/sys/fs/cgroup/init.scope/cgroup.procs
  state=$(systemctl is-system-running)
  case $state in running | degraded | maintenance | stopping) break ;; esac
  looks=$((looks - 1))
  [ "$looks" -gt 0 ] || break
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
  /** When the node started, by its own clock. */
  readonly since: Date;
  /** Units that failed; the node works all the same (images made for another runtime). */
  readonly failed: readonly string[];
}

/** Throws `cluster` with what systemd still waits for, or with the node's log when it has ended. */
export async function waitForBoot(node: Node, seconds: number, signal?: AbortSignal): Promise<Booted> {
  const argv = ['sh', '-c', script, 'sh', String(seconds)];
  let result = await node.exec(argv, { signal, timeout: (seconds + 10) * 1000 });
  // A node that was started a moment ago may not take commands yet.
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
    throw new KinaError('cluster', `${node.status.image} is no node image: it has no /kind/version`, {
      hint: 'Make one with `kina build node-image`.',
    });
  }
  const log = (await node.provider.logs(node.name)).trim().split('\n').slice(-15);
  throw new KinaError('cluster', `node ${node.name} did not boot in ${seconds} s: ${state || 'no answer'}`, {
    details: [...units, ...(state ? [] : result.stderr.trim().split('\n')), ...log].filter(Boolean),
    hint: 'Keep it for a look with --retain; `kina image test` boots the image alone.',
  });
}
