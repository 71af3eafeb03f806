/** A lock gives the same bytes from any store, is refused where the recipe has changed, and needs no network. */
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type Bench,
  type BenchOptions,
  digestIn,
  openBench,
  recipeFolder,
  smallRecipe,
  version,
} from '../../support/kina.ts';

let bench: Bench;
let usual: string;
beforeAll(async () => {
  bench = await openBench();
  usual = digestIn(await bench.build(['--output', 'type=oci-archive,dest=usual.tar']));
});
afterAll(() => bench.close());

let stores = 0;
const elsewhere = (options: BenchOptions = {}): BenchOptions => ({ store: `store-${++stores}`, ...options });

describe('locks', () => {
  const lock = (args: readonly string[] = [], options?: BenchOptions) =>
    bench.kina(
      ['lock', version, '--recipe', smallRecipe, '--platform', 'linux/amd64', '--mirror', bench.upstream.url, ...args],
      options,
    );

  test('a lock in another store, with upstream gone but for the files: the same image', async () => {
    const folder = await bench.place('locked');
    const locked = await lock([], { cwd: folder });
    expect(locked).toMatchObject({ code: 0 });
    expect(locked.stdout).toMatch(/^kina\.lock sha256:[0-9a-f]{64}\n$/);
    const text = await readFile(join(folder, 'kina.lock'), 'utf8');
    expect(text).not.toContain('127.0.0.1');
    expect(text).not.toContain(bench.folder);
    // No marker, no checksum file, no HEAD: the lock knows it all.
    bench.upstream.intercept = (path, response) => {
      if (response.req.method === 'GET' && !/\.sha256(sum)?$|\.txt$/.test(path)) return false;
      response.writeHead(404).end();
      return true;
    };
    try {
      expect(digestIn(await bench.build(['--locked'], elsewhere({ cwd: folder })))).toBe(usual);
    } finally {
      bench.upstream.intercept = undefined;
    }
  });

  test('the same lock again, byte for byte, and to standard output', async () => {
    const folder = await bench.place('again');
    await lock([], { cwd: folder });
    const printed = await lock(['--output', '-', '--quiet'], elsewhere());
    expect(printed.stdout).toBe(await readFile(join(folder, 'kina.lock'), 'utf8'));
    expect(printed.stderr).toBe('');
  });

  test('recipe and lock that differ: all differences together, exit code 2', async () => {
    const folder = await bench.place('changed');
    await lock([], { cwd: folder });
    await cp(recipeFolder, folder, { recursive: true });
    const recipe = join(folder, 'small.yaml');
    const text = await readFile(recipe, 'utf8');
    await writeFile(
      recipe,
      text
        .replace('links: { bin: usr/bin }', 'links: { sbin: usr/sbin }')
        .replace('[kubeadm, kubelet, kubectl]', '[kubeadm, kubelet]')
        .replace('      - users:', '      - file: { path: etc/new, content: new }\n      - users:'),
    );
    const result = await bench.build(['--locked', '--recipe', './small.yaml'], { cwd: folder });
    expect(result.code).toBe(2);
    expect(result.stdout).toBe('');
    expect(result.stderr).toContain('ERROR: kina.lock and the recipe disagree');
    for (const step of ['base/symlinks', 'kubernetes/kubernetes', 'base/file-2'])
      expect(result.stderr).toContain(`linux/amd64 ${step}: `);
    expect(result.stderr).toContain('Run `kina lock` again');
  });

  test('a local file that changed since the lock', async () => {
    const folder = await bench.place('edited');
    await cp(recipeFolder, folder, { recursive: true });
    await bench.kina(
      ['lock', version, '--recipe', './small.yaml', '--platform', 'linux/amd64', '--mirror', bench.upstream.url],
      { cwd: folder },
    );
    await writeFile(join(folder, 'files/etc/small.conf'), 'a=2\n');
    const result = await bench.build(['--locked', '--recipe', './small.yaml'], { cwd: folder });
    expect(result.code).toBe(2);
    expect(result.stderr).toContain('differs from');
    expect(result.stderr).toContain('locked');
  });

  test.each([
    ['another version', ['v1.33.1', '--locked'], 'the lock is for Kubernetes v1.34.2, but v1.33.1 is requested'],
    [
      'another platform',
      ['--locked', '--platform', 'linux/arm64'],
      'linux/arm64: not in the lock, which is for linux/amd64',
    ],
    [
      'two platforms, one of them another',
      ['--locked', '--platform', 'linux/amd64,linux/arm64'],
      'linux/arm64: not in the lock, which is for linux/amd64',
    ],
    ['another recipe', ['--locked', '--recipe', 'node'], 'the lock is for recipe small, this is node'],
    [
      'another variable',
      ['--locked', '--set', 'motd=bye'],
      'base/file: the step in the recipe differs from the locked one',
    ],
  ])('%s than the lock was made for', async (_what, args, words) => {
    const folder = await bench.place('other');
    await lock([], { cwd: folder });
    const result = await bench.build(args, { cwd: folder });
    expect(result.code).toBe(2);
    expect(result.stderr).toContain(words);
  });

  test('without --recipe it is that of the lock; a recipe that is not shipped must be given', async () => {
    const folder = await bench.place('whose');
    await lock([], { cwd: folder });
    const small = await bench.kina(['build', 'node-image', '--locked'], { cwd: folder });
    expect(small).toMatchObject({ code: 2, stdout: '' });
    expect(small.stderr).toContain('no recipe "small"');
    expect(small.stderr).toContain('--recipe ./FILE.yaml');
  });

  test.each([
    ['invalid YAML', 'version: [1'],
    ['a lock of the future', 'version: 3\nrecipe: small\nvariables: {}\nplatforms: {}\n'],
    ['nothing', ''],
  ])('a lock file that holds %s', async (_what, text) => {
    const folder = await bench.place('bad');
    await writeFile(join(folder, 'kina.lock'), text);
    const result = await bench.build(['--locked'], { cwd: folder });
    expect(result.code).toBe(2);
    expect(result.stderr).toContain('ERROR: kina.lock is not a lock of this version of kina');
  });

  test('a lock whose digest was tampered with is not built', async () => {
    const folder = await bench.place('tampered');
    await lock([], { cwd: folder });
    const file = join(folder, 'kina.lock');
    const text = await readFile(file, 'utf8');
    await writeFile(file, text.replace(/(name: kubelet,.*digest: "?sha256:)([0-9a-f]{8})/, '$1deadbeef'));
    const result = await bench.build(['--locked'], elsewhere({ cwd: folder }));
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('has the wrong size or digest');
    expect(result.stderr).toContain('sha256:deadbeef');
  });
});

describe('--offline', () => {
  test('with an empty store and a lock: everything that is missing, at once', async () => {
    const folder = await bench.place('offline');
    await bench.kina(
      ['lock', version, '--recipe', smallRecipe, '--platform', 'linux/amd64', '--mirror', bench.upstream.url],
      { cwd: folder },
    );
    const asked = bench.upstream.requests.length;
    const result = await bench.build(['--locked', '--offline'], elsewhere({ cwd: folder }));
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/ERROR: \d+ artifacts are not in the store, and --offline forbids network access/);
    for (const name of ['kubelet', 'kubeadm', 'kubectl', 'containerd', 'runc', 'kube-proxy.tar', 'pause', 'etcd'])
      expect(result.stderr).toMatch(new RegExp(`^  .*${name}.*https://`, 'm'));
    expect(bench.upstream.requests.length).toBe(asked);
  });

  test('with an empty store and no lock: names what it would have asked', async () => {
    const result = await bench.build(['--offline'], elsewhere());
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('--offline forbids network access');
    expect(result.stderr).toContain('https://github.com/opencontainers/runc/');
    expect(result.stderr).toContain('https://dl.k8s.io/');
  });

  test('after a build: the same image, without a single request', async () => {
    const asked = bench.upstream.requests.length;
    expect(digestIn(await bench.build(['--offline']))).toBe(usual);
    expect(digestIn(await bench.build(['--offline', '--no-cache']))).toBe(usual);
    expect(bench.upstream.requests.length).toBe(asked);
  });

  test('with a local file that changed since the build: the image with the file as it is now', async () => {
    const folder = await bench.place('offline, edited');
    await cp(recipeFolder, folder, { recursive: true });
    const options = elsewhere({ cwd: folder });
    const args = ['--recipe', './small.yaml'];
    const before = digestIn(await bench.build(args, options));
    await writeFile(join(folder, 'files/etc/small.conf'), 'a=2\n');
    const asked = bench.upstream.requests.length;
    const edited = digestIn(await bench.build([...args, '--offline'], options));
    expect(bench.upstream.requests.length).toBe(asked);
    expect(edited).not.toBe(before);
    expect(edited).toBe(digestIn(await bench.build(args, elsewhere({ cwd: folder }))));
  });

  test('after a build and the loss of one blob: names that one', async () => {
    const store = 'lossy';
    await bench.build([], { store });
    await mkdir(join(bench.folder, store), { recursive: true });
    const { platforms } = JSON.parse((await bench.build(['--dry-run', '--json'], { store })).stdout);
    const runc = platforms[0].layers
      .flatMap((l: { steps: unknown[] }) => l.steps)
      .find((s: { id: string }) => s.id === 'runtime/runc').artifacts[0];
    await rm(join(bench.folder, store, 'blobs/sha256', runc.digest.slice(7)));
    const result = await bench.build(['--offline', '--no-cache'], { store });
    expect(result.code).toBe(1);
    expect(result.stderr).toContain(`${runc.url} is not in the store, and --offline forbids network access`);
  });
});
