/**
 * Clusters without root on the host. They need cgroup v2 with the controllers that kubelet sets limits with, delegated to
 * the user; without them kubelet starts and pods never do, so it is asked before anything is made.
 */
import { type Environment, processEnvironment } from '../host/environment.ts';
import { KinaError } from '../host/errors.ts';
import type { Provider } from '../provider/provider.ts';

const needed = ['cpu', 'memory', 'pids'] as const;

/** Whether nodes will be rootless. Throws `provider` when they would be and cannot work. */
export async function checkRootless(
  provider: Provider,
  uid = process.getuid?.(),
  environment: Environment = processEnvironment(),
): Promise<boolean> {
  // An engine that root runs for root has no user namespace unless somebody asked for one, and asking costs a call.
  if (uid === 0 && !environment.DOCKER_HOST?.includes('/run/user/')) return false;
  const { rootless, cgroupVersion, controllers } = await provider.host();
  if (!rootless) return false;
  const missing = controllers ? needed.filter((one) => !controllers.includes(one)) : [];
  if (cgroupVersion === 2 && missing.length === 0) return true;
  const why =
    cgroupVersion === 1
      ? 'this machine has cgroup v1'
      : `these cgroup controllers are not delegated: ${missing.join(', ')}`;
  throw new KinaError('provider', `rootless ${provider.name} cannot run Kubernetes nodes: ${why}`, {
    hint:
      cgroupVersion === 1
        ? 'Run it as root, or boot the host with systemd.unified_cgroup_hierarchy=1.'
        : 'Put `[Service]` and `Delegate=cpu cpuset io memory pids` into /etc/systemd/system/user@.service.d/delegate.conf, then `systemctl daemon-reload` and log in again.',
  });
}
