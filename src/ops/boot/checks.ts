/**
 * The checks that a node image must pass. Each check queries a running node once and reports what it found. They are
 * ordered by dependency.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type BootCheck, failed, passed, skipped, within } from './check.ts';
import { initChecks, preflight } from './checks-kubeadm.ts';
import type { BootTarget } from './target.ts';

/** Waits for the end of the boot. For "degraded", the failed units and their journal are reported. */
const systemd: BootCheck = {
  id: 'systemd',
  title: 'boots with systemd, no unit fails',
  needs: [],
  async run(node) {
    const seconds = within(node, 120).timeout;
    const deadline = Date.now() + seconds * 1000;
    let state = '';
    while (Date.now() < deadline) {
      const answer = await node.exec('systemctl is-system-running');
      if (answer.code === 127) return failed('the image has no systemctl', answer);
      state = answer.stdout.trim();
      if (state && !['initializing', 'starting', 'offline', 'unknown'].includes(state)) break;
      await sleep(500 * node.patience);
    }
    if (state === 'running') {
      const said = await node.exec('systemctl --version');
      return passed(said.stdout.split(' (')[0] ?? '');
    }
    const why = await node.exec(
      `systemctl list-jobs --no-pager; systemctl --failed --plain --no-legend --no-pager
       for unit in $(systemctl --failed --plain --no-legend | cut -d' ' -f1); do
         journalctl --no-pager --lines 20 --unit "$unit"
       done`,
    );
    const units = /^\S+\.\w+(?= +\S+ +failed)/gm;
    const names = [...new Set(why.stdout.match(units) ?? [])].join(', ');
    return failed(
      state === 'degraded' ? `units failed: ${names}` : `still ${state || 'silent'} after ${seconds} s`,
      why,
    );
  },
};

/** Without these, kubelet does not start or its limits have no effect. */
const controllers = ['cpu', 'cpuset', 'memory', 'pids'];

const cgroup: BootCheck = {
  id: 'cgroup',
  title: 'has the control groups that kubelet needs, writable',
  needs: [],
  async run(node) {
    const answer = await node.exec(`
      if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        echo 2 && cat /sys/fs/cgroup/cgroup.controllers && group=/sys/fs/cgroup/kina-test
      else
        echo 1 && awk '$3 == "cgroup" { print $4 }' /proc/mounts | tr ',\\n' '  ' && group=/sys/fs/cgroup/memory/kina-test
      fi
      mkdir "$group" && rmdir "$group"`);
    const [version, rest = ''] = answer.stdout.split('\n');
    const there = rest.split(/\s+/);
    const absent = controllers.filter((name) => !there.includes(name));
    if (absent.length) return failed(`cgroup v${version} without ${absent.join(', ')}`, answer);
    if (answer.code !== 0) return failed('cannot create a group', answer);
    return passed(`cgroup v${version}: ${controllers.join(', ')}`);
  },
};

const containerd: BootCheck = {
  id: 'containerd',
  title: 'containerd answers and speaks CRI',
  needs: [],
  async run(node) {
    const version = await node.exec('ctr version');
    const found = /Server:\s+Version:\s+(\S+)/.exec(version.stdout)?.[1];
    if (version.code !== 0 || !found) {
      const why = await node.exec('systemctl status --no-pager --lines 20 containerd');
      return failed('containerd does not answer', `${version.stdout}${version.stderr}${why.stdout}${why.stderr}`);
    }
    const plugins = (await node.exec('ctr plugins ls')).stdout.split('\n');
    const cri = plugins.find((row) => /^io\.containerd\.(grpc\.v1 +cri|cri\.v1 +runtime) /.test(row));
    const bad = plugins.filter((row) => !/\bok\s*$/.test(row)).join('\n');
    if (!cri) return failed("containerd's CRI plugin is disabled", bad);
    if (!/\bok\s*$/.test(cri)) return failed("containerd's CRI plugin does not work", bad);
    return passed(`containerd ${found.replace(/^v/, '')}`);
  },
};

/** The snapshotter in containerd's effective configuration. */
async function snapshotterOf(node: BootTarget): Promise<string> {
  const dump = await node.exec('containerd config dump');
  return /^\s*snapshotter = ["'](\w[\w.-]*)["']/m.exec(dump.stdout)?.[1] ?? 'overlayfs';
}

const snapshotter: BootCheck = {
  id: 'snapshotter',
  title: 'the snapshotter works',
  needs: ['containerd'],
  async run(node) {
    const name = await snapshotterOf(node);
    const plugins = await node.exec('ctr plugins ls');
    if (!new RegExp(`^io\\.containerd\\.snapshotter\\.v1 +${name} .*\\bok\\s*$`, 'm').test(plugins.stdout))
      return failed(`containerd's snapshotter ${name} is not working`, plugins);
    // A layer on top of another, with a file in each and one deleted, as in every container.
    const ctr = `ctr --namespace kina-test snapshots --snapshotter ${name}`;
    const tried = await node.exec(
      `set -e
       at=/run/kina-test; mkdir -p $at
       ${ctr} prepare probe-1 && ${ctr} mounts $at probe-1 | sh
       echo one >$at/one && echo gone >$at/gone && umount $at && ${ctr} commit probe-2 probe-1
       ${ctr} prepare probe-3 probe-2 && ${ctr} mounts $at probe-3 | sh
       echo two >$at/two && rm $at/gone && cat $at/one $at/two && [ ! -e $at/gone ]
       umount $at && ${ctr} rm probe-3 && ${ctr} rm probe-2`,
      within(node, 30),
    );
    return tried.code === 0 ? passed(name) : failed(`cannot use a snapshot of ${name}`, tried);
  },
};

const images: BootCheck = {
  id: 'images',
  title: 'every preloaded image is there, complete',
  needs: ['containerd'],
  async run(node) {
    const listed = await node.exec(
      `for archive in /kind/images/*.tar; do
         [ -f "$archive" ] || continue
         for document in manifest.json index.json; do
           tar -xOf "$archive" "$document" 2>/dev/null | tr -d '\\n'; echo
         done
       done`,
      within(node, 60),
    );
    const wanted = new Set(listed.stdout.split('\n').filter(Boolean).flatMap(namesIn));
    const checked = await node.exec('ctr --namespace k8s.io images check', within(node, 60));
    if (checked.code !== 0) return failed('containerd cannot check its images', checked);
    const rows = checked.stdout.split('\n').slice(1).filter(Boolean);
    const state = new Map(rows.map((row) => [row.split(/\s+/)[0] ?? '', /\bcomplete\b/.test(row)]));
    const absent = [...wanted].filter((name) => !state.has(name));
    if (absent.length) return failed(`not in containerd: ${absent.join(', ')}`, checked);
    const broken = [...state].filter(([, complete]) => !complete).map(([name]) => name);
    if (broken.length) return failed(`incomplete: ${broken.join(', ')}`, checked);
    const named = [...state.keys()].filter((name) => !name.startsWith('sha256:') && !name.includes('@'));
    return named.length ? passed(`${named.length} images`) : skipped('the image preloads none');
  },
};

/** Names in a docker archive's manifest.json or an OCI layout's index.json. */
function namesIn(json: string): string[] {
  const document = JSON.parse(json) as
    | { RepoTags?: string[] | null }[]
    | { manifests?: { annotations?: Record<string, string> }[] };
  if (Array.isArray(document)) return document.flatMap(({ RepoTags }) => RepoTags ?? []);
  return (document.manifests ?? []).flatMap(({ annotations }) => annotations?.['io.containerd.image.name'] ?? []);
}

const container: BootCheck = {
  id: 'container',
  title: 'a container of a preloaded image runs',
  needs: ['snapshotter', 'images'],
  async run(node) {
    const listed = await node.exec('ctr --namespace k8s.io images ls --quiet');
    const pause = listed.stdout.split('\n').find((name) => /\/pause:[^@]+$/.test(name));
    if (!pause) return skipped('the image preloads no pause image to try');
    const ctr = 'ctr --namespace k8s.io';
    const ran = await node.exec(
      `set -e
       ${ctr} run --detach --snapshotter ${await snapshotterOf(node)} ${pause} kina-test
       sleep 1
       ${ctr} tasks ls | grep '^kina-test .*RUNNING'
       ${ctr} tasks kill --signal KILL kina-test
       until ${ctr} tasks rm kina-test; do sleep 0.2; done
       ${ctr} containers rm kina-test`,
      within(node, 30),
    );
    if (ran.code !== 0) return failed(`${pause} does not run`, ran);
    return passed(pause);
  },
};

export const checks: readonly BootCheck[] = [
  systemd,
  cgroup,
  containerd,
  snapshotter,
  images,
  container,
  preflight,
  ...initChecks,
];
