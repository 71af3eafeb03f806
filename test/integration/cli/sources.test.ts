/**
 * Sources of Kubernetes: releases, server tarballs, folders of binaries. The files are always the same; missing or wrong
 * information in a source is reported.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sha256 } from '../../../src/host/json.ts';
import { type CommandResult, check } from '../../support/command.ts';
import { type Bench, digestIn, openBench, smallRecipe, version } from '../../support/kina.ts';
import { sendFile } from '../../support/server.ts';
import { fakeElf, serverTarball } from '../../support/upstream.ts';

let bench: Bench;
/** Layer digests of the build from single release files, to compare the others with. */
let released: Record<string, Layers>;
type Layers = Record<string, string>;
const architectures = ['amd64', 'arm64'] as const;

beforeAll(async () => {
  bench = await openBench();
  released = layersOf(await bench.build(['--platform', 'linux/amd64,linux/arm64', '--json']));
  for (const architecture of architectures)
    await writeFile(file(architecture), await serverTarball(version, architecture));
});
afterAll(() => bench.close());

const file = (architecture: string): string => join(bench.folder, `kubernetes-server-linux-${architecture}.tar.gz`);
const url = (architecture: string): string =>
  `https://dl.k8s.io/${version}/kubernetes-server-linux-${architecture}.tar.gz`;

function layersOf(result: CommandResult): Record<string, Layers> {
  expect(result.stderr).not.toContain('ERROR');
  const answer = JSON.parse(result.stdout) as {
    kubernetes: string;
    platforms: { platform: string; layers: { name: string; diffId: string }[] }[];
  };
  expect(answer.kubernetes).toBe(version);
  return Object.fromEntries(
    answer.platforms.map((p) => [p.platform, Object.fromEntries(p.layers.map((l) => [l.name, l.diffId]))]),
  );
}

/** kubeadm, kubelet, kubectl, /kind/version and the images: byte by byte those of the release. */
function expectReleased(result: CommandResult): void {
  for (const [platform, layers] of Object.entries(layersOf(result))) {
    expect(layers.kubernetes, `${platform} kubernetes`).toBe(released[platform]?.kubernetes);
    expect(layers.images, `${platform} images`).toBe(released[platform]?.images);
  }
}
const build = (...args: string[]): Promise<CommandResult> => bench.buildFrom(args);

describe('a server tarball', () => {
  test('as a file', async () => expectReleased(await build(file('amd64'), '--json')));

  test('as a URL', async () => expectReleased(await build(url('amd64'), '--json')));

  test('both architectures from a URL that names one', async () => {
    const result = await build(url('arm64'), '--platform', 'linux/amd64,linux/arm64', '--json');
    expectReleased(result);
    expect(Object.keys(layersOf(result))).toEqual(['linux/amd64', 'linux/arm64']);
  });

  test('both architectures from two files, of which one is named', async () => {
    expectReleased(await build(file('amd64'), '--platform', 'linux/amd64,linux/arm64', '--json'));
  });

  test('its version from within: kubernetes/version, and the tag of the API server before 1.31', async () => {
    const old = join(bench.folder, 'old-linux-amd64.tar.gz');
    await writeFile(old, await serverTarball('v1.27.4', 'amd64'));
    const result = await build(old, '--json');
    expect(JSON.parse(result.stdout)).toMatchObject({ kubernetes: 'v1.27.4' });
  });

  test('a URL without a version requires one, and uses it', async () => {
    const body = await serverTarball(version, 'amd64');
    bench.upstream.intercept = (path, response) => {
      if (!path.startsWith('/files.example/')) return false;
      sendFile(response.req, response, path.endsWith('.sha256') ? Buffer.from(sha256(body).slice(7)) : body);
      return true;
    };
    const somewhere = 'https://files.example/builds/server.tar.gz';
    const result = await build(somewhere);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain(`${somewhere} does not state its Kubernetes version`);
    expect(result.stderr).toContain('--set kubernetes=vX.Y.Z');
    expectReleased(await build(somewhere, '--set', `kubernetes=${version}`, '--json'));
    bench.upstream.intercept = undefined;
  });

  test('for the wrong architecture, according to its name', async () => {
    // The sibling for arm64 is not there.
    const alone = join(await bench.place('alone'), 'kubernetes-server-linux-amd64.tar.gz');
    await writeFile(alone, await serverTarball(version, 'amd64'));
    const result = await build(alone, '--platform', 'linux/arm64');
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('kubernetes-server-linux-amd64.tar.gz is not for linux/arm64, and');
    expect(result.stderr).not.toContain('bug in kina');
  });

  test.each([
    [
      'a client tarball',
      async () => check(['tar', '-czf', 'client.tar.gz', '-C', '/', 'etc/passwd'], { cwd: bench.folder }),
    ],
    ['no tarball at all', async () => writeFile(join(bench.folder, 'client.tar.gz'), 'just text')],
    [
      'half a tarball',
      async () =>
        writeFile(join(bench.folder, 'client.tar.gz'), (await serverTarball(version, 'amd64')).subarray(0, 900)),
    ],
    ['an empty file', async () => writeFile(join(bench.folder, 'client.tar.gz'), '')],
  ])('%s', async (_what, make) => {
    await make();
    const result = await build('./client.tar.gz');
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/ERROR: .*client\.tar\.gz/);
    expect(result.stderr).not.toContain('bug in kina');
  });

  test('locked: works with the same store, a new store reports what to do', async () => {
    const folder = await bench.place('locked');
    const lock = await bench.kina(
      ['lock', file('amd64'), '--recipe', smallRecipe, '--platform', 'linux/amd64', '--mirror', bench.upstream.url],
      { cwd: folder },
    );
    expect(lock.code).toBe(0);
    digestIn(await bench.build(['--locked'], { cwd: folder }));
    const result = await bench.build(['--locked'], { cwd: folder, store: 'another' });
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('kubernetes-server is a local file that is no longer in the store');
  });
});

describe('a folder of binaries', () => {
  const names = ['kubeadm', 'kubelet', 'kubectl'];
  const images = ['kube-apiserver', 'kube-proxy'];
  /** What a release has, unpacked: from the server tarball by another tool. */
  const folder = async (name: string, place: (architecture: string) => string, withVersion = true): Promise<string> => {
    const root = await bench.place(name);
    for (const architecture of architectures) {
      const target = join(root, place(architecture));
      await mkdir(target, { recursive: true });
      const members = [
        ...names,
        ...images.map((n) => `${n}.tar`),
        ...(withVersion ? ['kube-apiserver.docker_tag'] : []),
      ];
      await check(
        [
          'tar',
          '-xzf',
          file(architecture),
          '--strip-components=3',
          ...members.map((m) => `kubernetes/server/bin/${m}`),
        ],
        { cwd: target },
      );
    }
    return root;
  };

  test.each([
    ['by architecture', (a: string) => a],
    ['as the releases are laid out', (a: string) => `linux/${a}`],
  ])('%s', async (what, place) => {
    expectReleased(await build(await folder(what, place), '--platform', 'linux/amd64,linux/arm64', '--json'));
  });

  test('without a version', async () => {
    const root = await folder('nameless', (a) => a, false);
    const result = await build(root);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain('does not state its Kubernetes version');
    expectReleased(await build(root, '--set', `kubernetes=${version}`, '--json'));
    await writeFile(join(root, 'version'), `${version}\n`);
    expectReleased(await build(root, '--json'));
  });

  test('without one of the binaries: lists every path that was tried', async () => {
    const root = await bench.place('lacking');
    await writeFile(join(root, 'version'), version);
    await writeFile(join(root, 'kubeadm'), fakeElf('amd64', 'kubeadm'));
    const result = await build(root);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/ERROR: .*lacking has no (kubelet|kubectl|kube-apiserver\.tar) for linux\/amd64/);
    expect(result.stderr).toContain(`looked for ${join(root, 'linux', 'amd64')}`);
  });

  test('with binaries for the wrong architecture', async () => {
    const root = await folder('crossed', (a) => (a === 'amd64' ? 'arm64' : 'amd64'));
    const result = await build(root, '--platform', 'linux/arm64');
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/is for (x86-64|linux\/amd64)/);
    expect(result.stderr).toContain('linux/arm64');
  });
});

describe('--type', () => {
  test.each([
    ['url', version, '--type url needs an http(s) address'],
    ['file', version, `${version} is not a file`],
    ['directory', version, `${version} is not a folder`],
    ['release', 'https://dl.k8s.io/v1.34.2/x.tar.gz', 'is not a Kubernetes version'],
    ['folder', version, 'unknown source type "folder"'],
  ])('%s with %s', async (type, source, words) => {
    const result = await build(source, '--type', type);
    expect(result.code).toBe(2);
    expect(result.stderr).toContain(words);
  });

  test('a file named like a version does not change what the version means', async () => {
    await writeFile(join(bench.folder, version), 'not a tarball');
    expectReleased(await build(version, '--json'));
    expect((await build(`./${version}`)).stderr).toContain(`ERROR: ./${version} is not a valid tar archive`);
  });
});

describe('versions', () => {
  test.each(['1.34.2', 'v1.34.2'])('%s', async (source) => expectReleased(await build(source, '--json')));

  test.each([
    ['stable', '/dl.k8s.io/release/stable.txt'],
    ['1.34', '/dl.k8s.io/release/stable-1.34.txt'],
    ['v1.34', '/dl.k8s.io/release/stable-1.34.txt'],
  ])('%s is resolved by upstream', async (source, marker) => {
    bench.upstream.intercept = (path, response) => {
      if (path !== marker) return false;
      response.end(`${version}\n`);
      return true;
    };
    expectReleased(await build(source, '--json'));
    bench.upstream.intercept = undefined;
  });

  test('a marker that contains a login page is refused', async () => {
    bench.upstream.intercept = (path, response) => {
      if (!path.endsWith('/stable.txt')) return false;
      response.end('<html>Please log in</html>');
      return true;
    };
    const result = await build('stable');
    expect(result.code).not.toBe(0);
    expect(result.stderr).toContain(
      'https://dl.k8s.io/release/stable.txt: "<html>Please log in</html>" is not a Kubernetes version',
    );
    bench.upstream.intercept = undefined;
  });
});
