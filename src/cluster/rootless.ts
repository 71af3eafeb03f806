/**
 * Checks the requirements of clusters without root on the host: cgroup v2, with the controllers that kubelet needs
 * delegated to the user. Without them kubelet starts but pods do not.
 */
import type { Environment } from '../host/environment.ts';
import { KinaError } from '../host/errors.ts';
import type { Provider } from '../provider/provider.ts';

const needed = ['cpu', 'memory', 'pids'] as const;

/** Whether nodes run without root on the host. Throws `provider` when rootless nodes cannot work. */
export async function checkRootless(
  provider: Provider,
  environment: Environment,
  uid = process.getuid?.(),
): Promise<boolean> {
  // For root the engine is not rootless, unless DOCKER_HOST points to that of a user. This saves a call.
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
        : 'Write `[Service]` and `Delegate=cpu cpuset io memory pids` to /etc/systemd/system/user@.service.d/delegate.conf, run `systemctl daemon-reload`, and log in again.',
  });
}
