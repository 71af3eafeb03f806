import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { describeUnless } from '../../support/requirements.ts';
import { NodeRoot, noShell, recipes } from './support.ts';

const versions = ['v2', 'v3'] as const;
const template = (version: string): string => readFileSync(join(recipes, `files/containerd-${version}.toml`), 'utf8');
const config = (version: string, systemdCgroup = 'true'): string =>
  template(version)
    .replaceAll('${imageRepository}', 'registry.k8s.io')
    .replaceAll('${pause}', '3.10')
    .replaceAll('${systemdCgroup}', systemdCgroup);
const path = 'etc/containerd/config.toml';
const root = (version: string, status = 'CapBnd:\t000001ffffffffff\n'): NodeRoot =>
  new NodeRoot({ [path]: config(version), 'proc/self/status': status, 'proc/self/uid_map': '0 0 4294967295\n' });

const worksOverlay = 'case "$*" in *overlay*) for m; do :; done; cp -r "$m/../lower/." "$m" ;; esac';

/** The file as Python's TOML parser reads it. */
const parse = (toml: string): Record<string, unknown> => {
  const code = 'import sys,json,tomllib; json.dump(tomllib.loads(sys.stdin.read()), sys.stdout)';
  const result = spawnSync('python3', ['-c', code], { input: toml, encoding: 'utf8' });
  if (result.status !== 0) throw new Error(result.stderr);
  return JSON.parse(result.stdout);
};
const noToml =
  spawnSync('python3', ['-c', 'import tomllib']).status === 0 ? undefined : 'no Python 3.11, which reads TOML';

test('no variable is left in a configuration', () => {
  for (const version of versions) expect(config(version)).not.toContain('${');
});

describeUnless(noToml, 'configuration files', () => {
  test('the two say the same in the words of their version', () => {
    type Options = { runtime_type: string; base_runtime_spec: string; options: { SystemdCgroup: boolean } };
    type Runtime = { runtimes: Record<string, Options>; default_runtime_name: string };
    type Images = { snapshotter: string; discard_unpacked_layers: boolean };
    const v2 = parse(config('v2')) as { version: number; plugins: Record<string, Record<string, unknown>> };
    const v3 = parse(config('v3')) as typeof v2;
    expect([v2.version, v3.version]).toEqual([2, 3]);
    const old = v2.plugins['io.containerd.grpc.v1.cri']!;
    const images = v3.plugins['io.containerd.cri.v1.images']!;
    const runtime = v3.plugins['io.containerd.cri.v1.runtime']!;
    const { snapshotter, discard_unpacked_layers, ...rest } = old.containerd as Images & Runtime;
    expect(runtime.containerd).toEqual(rest);
    expect(images).toMatchObject({ snapshotter, discard_unpacked_layers, registry: old.registry });
    expect(images.pinned_images).toEqual({ sandbox: old.sandbox_image });
    for (const key of ['tolerate_missing_hugetlb_controller', 'restrict_oom_score_adj'])
      expect(runtime[key]).toBe(old[key]);
  });
});

describeUnless(noShell, 'snapshotter', () => {
  test.each(versions)('overlayfs stays where a real overlay can be mounted, %s', async (version) => {
    using node = root(version);
    node.program('mount', worksOverlay);
    node.program('umount');
    await node.run('choose_snapshotter');
    expect(node.read(path)).toBe(config(version));
  });

  test.each(versions)('a file system that takes no overlay gets the native one, %s', async (version) => {
    using node = root(version);
    node.program('mount', 'exit 32');
    const { messages } = await node.run('choose_snapshotter');
    expect(node.read(path)).toBe(config(version).replace('"overlayfs"', '"native"'));
    expect(messages.join()).toContain('WARN: overlayfs does not work');
    expect(node.has('var/lib/containerd/.overlay-probe')).toBe(false);
  });

  // Layers delete files; a mount that cannot is found at the first image otherwise.
  test('a mount that succeeds but takes no new file counts as not working', async () => {
    using node = root('v3');
    node.program('mount', 'for m; do :; done; rmdir "$m"');
    node.program('umount');
    await node.run('choose_snapshotter');
    expect(node.read(path)).toContain('snapshotter = "native"');
  });

  test.each(['KINA_CONTAINERD_SNAPSHOTTER', 'KIND_EXPERIMENTAL_CONTAINERD_SNAPSHOTTER'])(
    '%s is honoured',
    async (name) => {
      using node = root('v2');
      await node.run('choose_snapshotter', { [name]: 'fuse-overlayfs' });
      expect(node.read(path)).toContain('snapshotter = "fuse-overlayfs"');
    },
  );

  test('an invalid name cannot break out of sed or TOML', async () => {
    using node = root('v2');
    const { messages } = await node.run('choose_snapshotter', { KINA_CONTAINERD_SNAPSHOTTER: 'x"|w /etc/passwd' });
    expect(node.read(path)).toBe(config('v2'));
    expect(messages.join()).toContain('ERROR: not a snapshotter');
  });

  test("what a user's patch chose stays", async () => {
    using node = root('v2');
    node.write(path, config('v2').replace('"overlayfs"', '"stargz"'));
    node.program('mount', 'exit 32');
    await node.run('choose_snapshotter');
    expect(node.read(path)).toContain('snapshotter = "stargz"');
  });
});

describeUnless(noShell, 'oom_score_adj', () => {
  const restricted = (version: string): string =>
    config(version).replace('restrict_oom_score_adj = false', 'restrict_oom_score_adj = true');

  test.each(versions)('is restricted without CAP_SYS_RESOURCE, %s', async (version) => {
    using node = root(version, 'CapBnd:\t000001fffeffffff\n');
    await node.run('restrict_oom_score');
    expect(node.read(path)).toBe(restricted(version));
  });

  test.each(versions)(
    'is restricted in a user namespace, whose capabilities count for nothing here, %s',
    async (version) => {
      using node = root(version);
      node.write('proc/self/uid_map', '         0       1000          1\n         1     100000      65536\n');
      await node.run('restrict_oom_score');
      expect(node.read(path)).toBe(restricted(version));
    },
  );

  test('is left alone with all capabilities', async () => {
    using node = root('v3');
    await node.run('restrict_oom_score');
    expect(node.read(path)).toBe(config('v3'));
  });

  test.each([
    ['000001fffeffffff', 24, 1],
    ['000001fffeffffff', 25, 0],
    ['000001fffeffffff', 23, 0],
    ['0000000000000001', 0, 0],
    ['0000000000000001', 1, 1],
    ['0000018000000000', 40, 0],
    ['0000018000000000', 38, 1],
    ['00000000A80425FB', 31, 0],
  ])('capability set %s, number %i: exit %i', async (set, capability, code) => {
    using node = root('v2', `CapEff:\t0000000000000000\nCapBnd:\t${set}\n`);
    expect((await node.run(`has_capability ${capability}`)).code).toBe(code);
  });
});

// A spec that containerd cannot read, or limits of its own, would show in every pod.
test('the base specification of containers has no limits and a hook that exists', () => {
  const spec = JSON.parse(readFileSync(join(recipes, 'files/node/etc/containerd/cri-base.json'), 'utf8'));
  expect(spec.process.rlimits).toBeUndefined();
  expect(spec.linux.cgroupsPath).toBeUndefined();
  const [hook] = spec.hooks.createContainer;
  expect(readFileSync(join(recipes, 'files/node', hook.path), 'utf8')).toMatch(/^#!\/bin\/sh\n/);
});
