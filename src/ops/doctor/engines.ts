/** Checks of the container engines: whether one works, which cgroups nodes get, and the state of clusters. */
import { bad, type DoctorCheck, type DoctorOutcome, type FoundEngine, ok, type Probes } from './check.ts';

const working = async (probes: Probes): Promise<FoundEngine[]> =>
  (await probes.engines()).filter(({ version }) => version !== undefined);

const engines: DoctorCheck = {
  id: 'engines',
  title: 'container engines',
  async run(probes) {
    const every = await probes.engines();
    const found = every.map(({ provider, version, installed, problem }) =>
      version === undefined
        ? installed
          ? (problem ?? `${provider.name} does not work`)
          : `${provider.name} is not installed`
        : `${provider.name} ${version}`,
    );
    if (every.some(({ version }) => version !== undefined)) {
      const broken = every.find(({ version, installed }) => version === undefined && installed);
      return broken
        ? bad('warn', found.join('; '), broken.advice ?? 'kina uses the engine that works.')
        : ok(found.join('; '));
    }
    const recommended = probes.platform === 'darwin' ? "Apple's container" : 'podman or docker';
    return bad(
      'fail',
      found.join('; '),
      every.find(({ installed }) => installed)?.advice ??
        `Install ${recommended} to run clusters. Building images does not need it.`,
    );
  },
};

/** kubelet needs these to set limits. */
const controllers = ['cpu', 'memory', 'pids'];

const cgroups: DoctorCheck = {
  id: 'cgroups',
  title: 'control groups',
  applies: ({ platform }) => platform === 'linux',
  async run(probes) {
    const found: DoctorOutcome[] = [];
    for (const { provider } of await working(probes)) {
      const { rootless, cgroupVersion, controllers: given } = await provider.host();
      const how = `${provider.name} ${rootless ? 'without' : 'with'} root on cgroup v${cgroupVersion}`;
      const missing = given ? controllers.filter((one) => !given.includes(one)) : [];
      if (cgroupVersion === 1 && rootless)
        found.push(
          bad('fail', how, `Run ${provider.name} as root, or boot the host with systemd.unified_cgroup_hierarchy=1.`),
        );
      else if (rootless && missing.length > 0)
        found.push(
          bad(
            'fail',
            `${how}, without ${missing.join(', ')}`,
            'Delegate them: write `[Service]` and `Delegate=cpu cpuset io memory pids` to /etc/systemd/system/user@.service.d/delegate.conf, run `systemctl daemon-reload`, and log in again.',
          ),
        );
      else if (cgroupVersion === 1)
        found.push(
          bad(
            'warn',
            how,
            'systemd 258 and Kubernetes 1.35 do not support cgroup v1. To run newer nodes, boot with systemd.unified_cgroup_hierarchy=1.',
          ),
        );
      else found.push(ok(how));
    }
    return found.length > 0 ? worst(found) : bad('unknown', 'no engine works', 'See container engines.');
  },
};

/** The worst outcome, with the findings of all. */
function worst(outcomes: readonly DoctorOutcome[]): DoctorOutcome {
  const order = ['fail', 'unknown', 'warn', 'ok'] as const;
  const [first] = [...outcomes].sort((a, b) => order.indexOf(a.state) - order.indexOf(b.state));
  return { ...first!, found: outcomes.map(({ found }) => found).join('; ') };
}

const clusters: DoctorCheck = {
  id: 'clusters',
  title: 'clusters',
  async run(probes) {
    const found: string[] = [];
    const advice: string[] = [];
    for (const engine of await working(probes)) {
      const names = new Map<string, { role: string; state: string }[]>();
      for (const node of await probes.nodes(engine))
        names.set(node.cluster, [...(names.get(node.cluster) ?? []), node]);
      for (const [name, nodes] of names) {
        const up = nodes.filter(({ state }) => state === 'running').length;
        found.push(`${name} on ${engine.provider.name}, ${up} of ${nodes.length} nodes running`);
        if (!nodes.some(({ role }) => role === 'control-plane'))
          advice.push(`${name} has no control plane; delete it: \`kina delete cluster --name ${name}\`.`);
        else if (up < nodes.length) advice.push(`Start or delete ${name}: \`kina start cluster --name ${name}\`.`);
      }
    }
    const summary = found.join('; ') || 'none';
    return advice.length > 0 ? bad('warn', summary, advice.join(' ')) : ok(summary);
  },
};

export const engineChecks: readonly DoctorCheck[] = [engines, cgroups, clusters];
