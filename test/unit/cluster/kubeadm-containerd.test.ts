/** containerd's configuration patched: the files that node images have, and the patches that people have. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'smol-toml';
import { describe, expect, test } from 'vitest';
import { recipesFolder } from '../../../src/build/recipe/load.ts';
import { checkContainerdPatches, patchContainerd } from '../../../src/cluster/kubeadm/containerd.ts';
import { describeWith } from '../../support/requirements.ts';
import { problems } from './config-support.ts';

/** The shipped file with its variables filled in. */
function file(version: 2 | 3): string {
  const values: Readonly<Record<string, string>> = {
    systemdCgroup: 'true',
    imageRepository: 'registry.k8s.io',
    pause: '3.10',
  };
  const text = readFileSync(join(recipesFolder, `files/containerd-v${version}.toml`), 'utf8');
  return text.replace(/\$\{(\w+)\}/g, (_all, name) => values[name]!);
}

const cri = '[plugins."io.containerd.grpc.v1.cri"';
const images = 'io.containerd.cri.v1.images';
const runtime = 'io.containerd.cri.v1.runtime';
// biome-ignore lint/suspicious/noExplicitAny: tables of any depth
const plugins = (toml: string): any => (parse(toml) as any).plugins;

describe('a file of version 2', () => {
  test('without patches it keeps its comments', () => {
    expect(patchContainerd(file(2), [])).toBe(file(2));
  });

  test('what kind documents for a local registry', () => {
    const patch = `${cri}.registry]\n  config_path = "/etc/containerd/certs.d"`;
    expect(plugins(patchContainerd(file(2), [patch]))).toEqual(plugins(file(2)));
  });

  test('mirrors and the folder of hosts exclude each other, so the folder goes', () => {
    const patch = `${cri}.registry.mirrors."localhost:5000"]\n  endpoint = ["http://registry:5000"]`;
    for (const version of [2, 3] as const) {
      const plugin = plugins(patchContainerd(file(version), [patch]))[
        version === 2 ? 'io.containerd.grpc.v1.cri' : images
      ];
      expect(plugin.registry).toEqual({ mirrors: { 'localhost:5000': { endpoint: ['http://registry:5000'] } } });
    }
  });

  test('credentials go with the folder', () => {
    const patch = `${cri}.registry.configs."a".auth]\n  username = "u"`;
    expect(plugins(patchContainerd(file(2), [patch]))['io.containerd.grpc.v1.cri'].registry).toEqual({
      config_path: '/etc/containerd/certs.d',
      configs: { a: { auth: { username: 'u' } } },
    });
  });

  test('a patch of version 3 is refused by name', () => {
    for (const patch of ['version = 3\n', `[plugins."${runtime}"]\nenable_cdi = true`])
      expect(problems(() => patchContainerd(file(2), [patch]))).toEqual([
        'containerdConfigPatches[0]: the patch is for version 3 of the format, but the node has version 2',
      ]);
  });

  test('the same patch for both versions is accepted: one of them fits', () => {
    const two = `version = 2\n${cri}]\nenable_cdi = true`;
    const three = `version = 3\n[plugins."${runtime}"]\nenable_cdi = true`;
    expect(plugins(patchContainerd(file(2), [two, three]))).not.toHaveProperty([runtime]);
    expect(plugins(patchContainerd(file(3), [two, three]))[runtime].enable_cdi).toBe(true);
  });

  test('whole and fractional numbers stay what they are', () => {
    const toml = patchContainerd(
      'version = 2\na = 1.0\nb = 9007199254740993',
      ['c = 2\nd = 2.5'],
      ['[{"op": "add", "path": "/e", "value": 3}]'],
    );
    expect(toml).toMatch(/^a = 1\.0$/m);
    expect(toml).toMatch(/^b = 9007199254740993$/m);
    expect(toml).toMatch(/^c = 2$/m);
    expect(toml).toMatch(/^e = 3$/m);
  });
});

describe('patches of version 2 on a file of version 3', () => {
  test('every setting goes where containerd 2 looks for it', () => {
    const patch = `
${cri}]
  sandbox_image = "own/pause:1"
  max_concurrent_downloads = 9
  stream_server_port = "10010"
  device_ownership_from_security_context = true
${cri}.registry.configs."a".auth]
  username = "u"
${cri}.containerd]
  snapshotter = "native"
  discard_unpacked_layers = true
  default_runtime_name = "own"
${cri}.containerd.runtimes.own]
  runtime_type = "io.containerd.runc.v2"
  sandbox_mode = "shim"
${cri}.containerd.runtimes.own.options]
  BinaryName = "own"
${cri}.cni]
  conf_dir = "/cni"
[debug]
  level = "debug"`;
    const result = patchContainerd(file(3), [patch]);
    const all = plugins(result);
    expect(all[images]).toMatchObject({
      snapshotter: 'native',
      discard_unpacked_layers: true,
      max_concurrent_downloads: 9,
      pinned_images: { sandbox: 'own/pause:1' },
      registry: { configs: { a: { auth: { username: 'u' } } } },
    });
    expect(all[runtime]).toMatchObject({
      device_ownership_from_security_context: true,
      cni: { conf_dir: '/cni' },
      containerd: {
        default_runtime_name: 'own',
        runtimes: {
          own: { runtime_type: 'io.containerd.runc.v2', sandboxer: 'shim', options: { BinaryName: 'own' } },
          runc: { options: { SystemdCgroup: true } },
        },
      },
    });
    expect(all['io.containerd.grpc.v1.cri']).toEqual({ stream_server_port: '10010' });
    expect(parse(result)).toMatchObject({ version: 3, debug: { level: 'debug' } });
  });

  test('JSON patches too, in YAML or JSON', () => {
    const yaml = '- {op: replace, path: /plugins/io.containerd.grpc.v1.cri/containerd/snapshotter, value: native}';
    const json = '[{"op": "remove", "path": "/plugins/io.containerd.grpc.v1.cri/containerd/runtimes/test-handler"}]';
    const all = plugins(patchContainerd(file(3), [], [yaml, json]));
    expect(all[images].snapshotter).toBe('native');
    expect(Object.keys(all[runtime].containerd.runtimes)).toEqual(['runc']);
  });

  test('what has no successor is refused by name, all at once', () => {
    const mine = [`${cri}]\nsystemd_cgroup = true`, `${cri}.cni]\nbin_dir = "/x"`, 'version = 1'];
    const operation = '- {op: remove, path: /plugins/io.containerd.grpc.v1.cri/containerd}';
    expect(problems(() => patchContainerd(file(3), mine, [operation]))).toEqual([
      expect.stringMatching(/^containerdConfigPatches\[0\]: .*\.systemd_cgroup does not exist in containerd 2/),
      expect.stringMatching(/^containerdConfigPatches\[1\]: .*\.cni\.bin_dir is a list/),
      expect.stringMatching(/^containerdConfigPatches\[2\]: the patch is for version 1/),
      expect.stringMatching(/^containerdConfigPatchesJSON6902\[0\]: .*\.containerd is split into several tables/),
    ]);
  });

  test('most of it is known before there is a node', () => {
    const patches = {
      containerdPatches: [`${cri}]\nsystemd_cgroup = true`],
      containerdPatches6902: ['- {op: remove, path: /plugins/io.containerd.grpc.v1.cri}'],
    };
    expect(problems(() => checkContainerdPatches(patches, '2.2.7'))).toHaveLength(2);
    expect(() => checkContainerdPatches(patches, '1.7.34')).not.toThrow();
  });
});

describeWith("containerd's own reading of a patched file", ['containerd'], () => {
  test('it has the setting, and still what the image said', () => {
    const folder = mkdtempSync(join(tmpdir(), 'kina-containerd-'));
    try {
      const path = join(folder, 'config.toml');
      const patch = `${cri}.registry.mirrors."localhost:5000"]\n  endpoint = ["http://registry:5000"]`;
      writeFileSync(path, patchContainerd(file(2), [patch]));
      const dump = plugins(execFileSync('containerd', ['--config', path, 'config', 'dump'], { encoding: 'utf8' }));
      const plugin = dump['io.containerd.grpc.v1.cri'];
      expect(plugin.registry).toMatchObject({
        config_path: '',
        mirrors: { 'localhost:5000': { endpoint: ['http://registry:5000'] } },
      });
      expect(plugin.containerd.runtimes.runc.options.SystemdCgroup).toBe(true);
      expect(plugin.sandbox_image).toBe('registry.k8s.io/pause:3.10');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
