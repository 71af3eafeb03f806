/** The same lock gives the same bytes: whatever the clock, the folder, the language, the umask, the store, the network. */
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

describe('surroundings that do not reach the image', () => {
  test.each<[string, BenchOptions]>([
    ['a time zone', { env: { TZ: 'Pacific/Chatham' } }],
    ['a language that sorts and writes differently', { env: { LC_ALL: 'tr_TR.UTF-8', LANG: 'tr_TR.UTF-8' } }],
    ['an umask that forbids others everything', { umask: '077' }],
    ['an umask that allows everything', { umask: '000' }],
    ['one processor', { env: { UV_THREADPOOL_SIZE: '1', NODE_OPTIONS: '--max-semi-space-size=1' } }],
    ['another home', { env: { HOME: '/nonexistent' } }],
    ['an empty SOURCE_DATE_EPOCH, as CI files produce', { env: { SOURCE_DATE_EPOCH: '' } }],
  ])('%s', async (_what, options) => {
    const result = await bench.build(['--output', 'type=oci-archive,dest=again.tar'], elsewhere(options));
    expect(digestIn(result)).toBe(usual);
    // The archive around the image too.
    expect(
      (await readFile(join(bench.folder, 'again.tar'))).equals(await readFile(join(bench.folder, 'usual.tar'))),
    ).toBe(true);
  });

  test('another folder, for the recipe and for kina', async () => {
    const moved = join(bench.folder, 'moved here', 'ü');
    await cp(recipeFolder, moved, { recursive: true });
    const result = await bench.build(['--recipe', './small.yaml'], elsewhere({ cwd: moved }));
    expect(digestIn(result)).toBe(usual);
  });

  test('the order of platforms', async () => {
    const both = ['linux/arm64,linux/amd64', 'linux/amd64,linux/arm64', 'amd64,arm64'];
    const digests = [];
    for (const platform of both) digests.push(digestIn(await bench.build(['--platform', platform], elsewhere())));
    expect(new Set(digests).size).toBe(1);
  });

  test('a build from scratch in a store that has everything', async () => {
    expect(digestIn(await bench.build(['--no-cache']))).toBe(usual);
  });
});

/** What a recipe says beside its steps, which pins cannot tell apart. */
const otherFrames: [string, (recipe: string) => string][] = [
  ['the description', (recipe) => recipe.replace('A small image', 'A tiny image')],
  // Of the same kind, so that only their names are in another order.
  [
    'the order of steps',
    (recipe) => {
      const [containerd, crictl] = recipe.match(/^ {6}- archive:\n(?: {8}.*\n)+/gm) as string[];
      return recipe.replace(containerd!, '@').replace(crictl!, containerd!).replace('@', crictl!);
    },
  ],
  ['the order of the environment', (recipe) => recipe.replace('{ PATH: /usr/bin, A: a }', '{ A: a, PATH: /usr/bin }')],
];

describe('a recipe that changes around its steps', () => {
  test.each(otherFrames)(
    '%s: a store that has the image as it was gives what an empty one gives',
    async (_what, change) => {
      const folder = await bench.place('reframed');
      await cp(recipeFolder, folder, { recursive: true });
      const recipe = join(folder, 'small.yaml');
      const before = (await readFile(recipe, 'utf8')).replace('{ PATH: /usr/bin }', '{ PATH: /usr/bin, A: a }');
      await writeFile(recipe, before);
      const options = elsewhere({ cwd: folder });
      const old = digestIn(await bench.build(['--recipe', './small.yaml'], options));
      await writeFile(recipe, change(before));
      const changed = digestIn(await bench.build(['--recipe', './small.yaml'], options));
      expect(changed).not.toBe(old);
      expect(changed).toBe(digestIn(await bench.build(['--recipe', './small.yaml'], elsewhere({ cwd: folder }))));
    },
  );
});

describe('a store that lost something', () => {
  test.each(['config', 'manifest', 'layer'] as const)('the %s of an image: made again, not believed', async (lost) => {
    const options = elsewhere();
    const store = join(bench.folder, options.store as string, 'blobs/sha256');
    const name = 'localhost/lost:1';
    await bench.build(['--tag', name], options);
    const { platforms } = JSON.parse((await bench.kina(['image', 'inspect', name, '--json'], options)).stdout);
    const [{ manifest, config, layers }] = platforms;
    await rm(join(store, { manifest, config, layer: layers[0] }[lost].digest.slice(7)));
    const again = await bench.build(['--tag', name, '--output', 'type=oci-archive,dest=found.tar'], options);
    expect(digestIn(again)).toBe(usual);
    expect((await bench.kina(['image', 'verify', name], options)).code).toBe(0);
  });
});

describe('SOURCE_DATE_EPOCH', () => {
  test('changes the image, and in the same way again', async () => {
    const env = { SOURCE_DATE_EPOCH: '1700000000' };
    const first = digestIn(await bench.build(['--tag', 'dated:1'], elsewhere({ env })));
    expect(first).not.toBe(usual);
    expect(digestIn(await bench.build([], elsewhere({ env })))).toBe(first);
    const details = await bench.kina(['image', 'inspect', 'dated:1'], { store: `store-${stores - 1}` });
    expect(details.stdout).toContain('created   2023-11-14T22:13:20Z');
  });

  test('in a store that has the image with another date', async () => {
    const env = { SOURCE_DATE_EPOCH: '1700000000' };
    const fresh = digestIn(await bench.build([], elsewhere({ env })));
    expect(digestIn(await bench.build([], { env }))).toBe(fresh);
    expect(digestIn(await bench.build())).toBe(usual);
  });
});

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

  test('recipe and lock that disagree: every difference at once, exit code 2', async () => {
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

  test.each(otherFrames)('%s changed since the lock', async (_what, change) => {
    const folder = await bench.place('reframed and locked');
    await cp(recipeFolder, folder, { recursive: true });
    const recipe = join(folder, 'small.yaml');
    const before = (await readFile(recipe, 'utf8')).replace('{ PATH: /usr/bin }', '{ PATH: /usr/bin, A: a }');
    await writeFile(recipe, before);
    await lock(['--recipe', './small.yaml'], { cwd: folder });
    const args = ['--locked', '--recipe', './small.yaml'];
    expect((await bench.build(args, { cwd: folder })).code).toBe(0);
    await writeFile(recipe, change(before));
    const result = await bench.build(args, { cwd: folder });
    expect(result.code).toBe(2);
    expect(result.stderr).toContain(
      "linux/amd64: the recipe's description, image settings or order of steps are not the locked ones",
    );
    // Locks of earlier versions have nothing to compare with.
    const file = join(folder, 'kina.lock');
    await writeFile(file, (await readFile(file, 'utf8')).replace(/^settings:\n( {2}.*\n)+/m, ''));
    expect((await bench.build(args, { cwd: folder })).code).toBe(0);
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
    expect(result.stderr).toContain('is not');
    expect(result.stderr).toContain('locked');
  });

  test.each([
    ['another version', ['v1.33.1', '--locked'], 'the lock is for Kubernetes v1.34.2, asked for is v1.33.1'],
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
      "base/file: the recipe's step is not the one that was locked",
    ],
  ])('%s than the lock was made for', async (_what, args, words) => {
    const folder = await bench.place('other');
    await lock([], { cwd: folder });
    const result = await bench.build(args, { cwd: folder });
    expect(result.code).toBe(2);
    expect(result.stderr).toContain(words);
  });

  test("without --recipe it is that of the lock; one that is none of kina's is asked for", async () => {
    const folder = await bench.place('whose');
    await lock([], { cwd: folder });
    const small = await bench.kina(['build', 'node-image', '--locked'], { cwd: folder });
    expect(small).toMatchObject({ code: 2, stdout: '' });
    expect(small.stderr).toContain('no recipe "small"');
    expect(small.stderr).toContain('--recipe ./FILE.yaml');
  });

  test.each([
    ['YAML that is none', 'version: [1'],
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
    expect(result.stderr).toContain('is not what was promised');
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
