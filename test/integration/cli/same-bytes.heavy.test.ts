/** The same lock gives the same bytes: whatever the clock, the folder, the language, the umask, the store, the network. */
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
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

describe('environments that do not affect the image', () => {
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

describe('an incomplete store', () => {
  test.each(['config', 'manifest', 'layer'] as const)('the %s of an image: built again', async (lost) => {
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

describe('a lock of a recipe that changes around its steps', () => {
  const lock = (args: readonly string[] = [], options?: BenchOptions) =>
    bench.kina(
      ['lock', version, '--recipe', smallRecipe, '--platform', 'linux/amd64', '--mirror', bench.upstream.url, ...args],
      options,
    );

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
});
