/** The cluster commands without a cluster: wrong arguments, missing engines, and what works without an engine. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { projectRoot, run } from '../../support/command.ts';
import { type Bench, openBench } from '../../support/kina.ts';
import { describeWith } from '../../support/requirements.ts';

let bench: Bench;
beforeAll(async () => {
  bench = await openBench();
});
afterAll(() => bench.close());

/** An empty PATH, so that no engine is found, and no variables of this machine. */
const nothing = { env: { PATH: '/nowhere', KIND_EXPERIMENTAL_PROVIDER: undefined, KIND_CLUSTER_NAME: undefined } };
const kina = (args: readonly string[], env: Record<string, string> = {}) =>
  bench.kina(args, { env: { ...nothing.env, ...env } });

describe('wrong arguments are reported before any engine is contacted', () => {
  test.each([
    [['create', 'cluster', '--wait', '5'], '--wait 5: missing unit in duration'],
    [['create', 'cluster', '--wait', 'soon'], '--wait soon: invalid duration'],
    [['create', 'cluster', '--image', 'a', '--build', 'v1.34.2'], '--image and --build cannot be used together'],
    [['create', 'cluster', '--image', 'Upper:1'], '"Upper:1" is not an image reference: names must be lower case'],
    [['create', 'cluster', '--provider', 'podmn'], '--provider: unknown provider "podmn"; did you mean "podman"?'],
    [['create', 'cluster', '--name', 'Big_Name'], '--name: '],
    [['create', 'cluster', 'extra'], 'too many arguments'],
    [['create', 'clusters'], 'kina create has no command "clusters"; did you mean "cluster"?'],
    [['get', 'node'], 'kina get has no command "node"; did you mean "nodes"?'],
    [['get'], 'a command is missing'],
    [['load', 'docker-image'], "missing required argument 'image'"],
    [['delete', 'clusters'], 'no cluster names provided'],
    [['get', 'clusters', '-v', 'x'], '--verbosity x: expected a number from 0 to 5'],
    [['completion', 'bsh'], 'no completion for "bsh"; did you mean "bash"?'],
    [['start', 'cluster', '--wait', '1d'], '--wait 1d: invalid duration'],
  ])('kina %j', async (args, words) => {
    const result = await kina(args);
    expect(result.stderr).toContain(words);
    expect(result).toMatchObject({ code: 2, stdout: '' });
  });

  test('an unknown provider in the variable of kina is an error', async () => {
    const result = await kina(['get', 'clusters'], { KINA_PROVIDER: 'dockr' });
    expect(result.stderr).toContain('KINA_PROVIDER: unknown provider "dockr"; did you mean "docker"?');
    expect(result.code).toBe(2);
  });

  test('an unknown provider in the variable of kind is ignored with a warning, as in kind', async () => {
    const result = await kina(['create', 'cluster', '--dry-run'], { KIND_EXPERIMENTAL_PROVIDER: 'nerdctl' });
    expect(result.stderr).toContain('WARNING: KIND_EXPERIMENTAL_PROVIDER=nerdctl is ignored');
    expect(result.code).toBe(0);
  });
});

describe('without any engine', () => {
  test.each([
    [['create', 'cluster']],
    [['get', 'clusters']],
    [['get', 'nodes', '-A']],
    [['delete', 'cluster']],
    [['load', 'image', 'a']],
    [['export', 'logs']],
    [['stop', 'cluster']],
  ])('kina %j names each engine and why', async (args) => {
    const result = await kina(args);
    expect(result.stderr).toContain('ERROR: no container engine works on this machine\n');
    for (const name of ['docker', 'podman'])
      expect(result.stderr).toMatch(new RegExp(`^  ${name}: .*not installed`, 'm'));
    expect(result).toMatchObject({ code: 1, stdout: '' });
  });

  test('-v 1 shows where an error comes from', async () => {
    expect((await kina(['get', 'clusters'])).stderr).not.toContain('    at ');
    for (const flag of [['-v', '1'], ['-v1'], ['--verbosity=1'], ['--verbose']])
      expect((await kina(['get', 'clusters', ...flag])).stderr).toContain('    at ');
  });

  test('--dry-run prints the plan as a cluster configuration', async () => {
    const result = await kina(['create', 'cluster', '--dry-run', '--image', 'localhost/node:1'], {
      KIND_CLUSTER_NAME: 'from-kind',
    });
    expect(result.code).toBe(0);
    expect(parse(result.stdout)).toMatchObject({
      name: 'from-kind',
      provider: null,
      nodes: [{ name: 'from-kind-control-plane', image: 'localhost/node:1' }],
    });
    expect(result.stderr).toContain('WARNING: no container engine works on this machine');
  });

  test('--dry-run does not contact the provider, and --name overrides the variables', async () => {
    const flags = ['--dry-run', '--json', '--provider', 'docker', '--name', 'flag'];
    const result = await kina(['create', 'cluster', ...flags], { KINA_CLUSTER_NAME: 'variable' });
    expect(JSON.parse(result.stdout)).toMatchObject({ name: 'flag', provider: 'docker' });
  });

  test('--kernel and --rosetta require virtual machines and are refused for other providers', async () => {
    const create = (...flags: string[]) => kina(['create', 'cluster', '--dry-run', '--json', ...flags]);
    const kernel = join(bench.folder, 'vmlinux');
    await writeFile(kernel, '');
    const vm = await create('--provider', 'apple', '--kernel', kernel, '--rosetta');
    expect(JSON.parse(vm.stdout)).toMatchObject({ provider: 'apple', nodes: [{ kernel, rosetta: true }] });
    for (const [flag, ...value] of [['--kernel', kernel], ['--rosetta']]) {
      const refused = await create('--provider', 'docker', flag!, ...value);
      expect(refused.code).toBe(2);
      expect(refused.stderr).toContain(`${flag} requires nodes in virtual machines`);
    }
  });

  test('the provider comes from the flag, the environment or the file', async () => {
    const file = join(bench.folder, 'provider.yaml');
    await writeFile(file, 'kind: Cluster\napiVersion: kina.dev/v1alpha1\nprovider: docker\n');
    const plan = async (env: Record<string, string>, ...flags: string[]) =>
      JSON.parse((await kina(['create', 'cluster', '--dry-run', '--json', '--config', file, ...flags], env)).stdout);
    expect(await plan({})).toMatchObject({ provider: 'docker' });
    expect(await plan({ KIND_EXPERIMENTAL_PROVIDER: 'podman' })).toMatchObject({ provider: 'podman' });
    expect(await plan({ KINA_PROVIDER: 'podman' }, '--provider', 'docker')).toMatchObject({ provider: 'docker' });
  });

  test('config validate counts nodes, and reports every problem of an invalid file', async () => {
    const [good, bad] = [join(bench.folder, 'good.yaml'), join(bench.folder, 'bad.yaml')];
    const head = 'kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\n';
    await writeFile(good, `${head}name: two\nnodes: [{role: control-plane}, {role: worker}]\n`);
    await writeFile(bad, `${head}nam: x\nnodes:\n- role: workr\n`);
    expect((await kina(['config', 'validate', good])).stdout).toBe(
      `${good}: valid; cluster two, 1 control plane(s), 1 worker(s)\n`,
    );
    const result = await kina(['config', 'validate', bad]);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain(`${bad}:3:1: `);
    expect(result.stderr).toContain(`${bad}:5:`);
    expect((await kina(['create', 'cluster', '--dry-run', '--config', bad])).stderr).toBe(result.stderr);
  });
});

describe('versions', () => {
  test('are printed as scripts expect them', async () => {
    expect((await kina(['version', '-q'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect((await kina(['-q', 'version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect((await kina(['--version'])).stdout).toMatch(/^kina version \d+\.\d+\.\d+\n$/);
  });
});

describe('completion', () => {
  const candidates = async (...words: string[]) => {
    const { stdout } = await kina(['__complete', '--', ...words]);
    return stdout.split('\n').flatMap((line) => line.split('\t')[0] || []);
  };

  test('offers commands, flags and values, and nothing for free text', async () => {
    expect(await candidates('del')).toEqual(['delete']);
    expect(await candidates('delete', 'clusters', '--k')).toEqual(['--kubeconfig']);
    expect(await candidates('create', 'cluster', '--provider', '')).toEqual(
      expect.arrayContaining(['podman', 'docker']),
    );
    expect(await candidates('create', 'cluster', '--provider', '=', 'd')).toEqual(['docker']);
    expect(await candidates('build', 'node-image', '--platform', 'linux/arm64,linux/am')).toEqual([
      'linux/arm64,linux/amd64',
    ]);
    expect(await candidates('create', 'cluster', '--config', '')).toEqual([]);
    expect(await candidates('completion', '')).toEqual(['bash', 'zsh', 'fish', 'powershell']);
    expect(await candidates('__')).toEqual([]);
  });

  test('without an engine there are no clusters, and no error', async () => {
    const result = await kina(['__complete', '--', 'delete', 'cluster', '--name', '']);
    expect(result).toMatchObject({ code: 0, stdout: '', stderr: '' });
  });

  describeWith('in a shell', ['bash'], () => {
    test('bash completes the word under the cursor', async () => {
      const { stdout: script } = await kina(['completion', 'bash']);
      const asked = `kina() { "${process.execPath}" "${join(projectRoot, 'bin/kina.js')}" "$@"; }
COMP_WORDS=(kina create cluster --dr); COMP_CWORD=3; _kina; printf '%s\\n' "\${COMPREPLY[@]}"`;
      expect((await run(['bash', '--norc', '-c', `${script}\n${asked}`])).stdout).toBe('--dry-run\n');
    });
  });
});
