/**
 * One recipe built by every Node that kina runs on: the same image, to the byte. Compressed copies of its layers are the
 * work of the zlib and zstd in Node; where those differ, the answer of the build says which of them it was.
 */
import { existsSync } from 'node:fs';
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { testCache } from '../../support/cache.ts';
import { check, run } from '../../support/command.ts';
import { type Bench, digestIn, openBench, smallRecipe } from '../../support/kina.ts';
import { describeUnless } from '../../support/requirements.ts';

const majors = [22, 24, 26] as const;

/** The folder that npm puts the Nodes into; kept, because they are 200 MB each. */
const folder = join(testCache, 'node-versions');
const nodeOf = (major: number): string => join(folder, 'node_modules', `node-${major}`, 'bin', 'node');

/** Why there are no other Nodes here; undefined when they are installed. */
async function installNodes(): Promise<string | undefined> {
  if (majors.every((major) => existsSync(nodeOf(major)))) return undefined;
  const fresh = `${folder}.${process.pid}`;
  await mkdir(fresh, { recursive: true });
  await writeFile(join(fresh, 'package.json'), '{ "private": true }');
  // The package `node` downloads one of these in a script of its own; they are the programs, without scripts.
  const wanted = majors.map((major) => `node-${major}@npm:node-${process.platform}-${process.arch}@${major}`);
  const flags = ['--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline', '--fetch-retries=0'];
  const installed = await run(['npm', 'install', ...flags, ...wanted], { cwd: fresh, timeout: 180 });
  if (installed.code === 0) {
    await rm(folder, { recursive: true, force: true });
    await rename(fresh, folder);
    return undefined;
  }
  await rm(fresh, { recursive: true, force: true });
  return `npm cannot install other Nodes: ${installed.stderr.split('\n').find((line) => /error/i.test(line)) ?? installed.code}`;
}

describeUnless(await installNodes(), `images built by Node ${majors.join(', ')}`, () => {
  let bench: Bench;
  beforeAll(async () => {
    bench = await openBench();
    // Large enough for several blocks, with repetitions near and far: what versions of a compressor disagree about.
    const text = Array.from({ length: 200_000 }, (_, i) => `line ${(i * 7919) % 10_007} of something ${i % 13}\n`);
    await writeFile(join(bench.folder, 'text'), text.join(''));
    const step = '{ path: srv/text, source: text }';
    const recipe = `name: big\nextends: ${smallRecipe}\nlayers: [{ name: big, steps: [{ file: ${step} }] }]\n`;
    await writeFile(join(bench.folder, 'big.yaml'), recipe);
  });
  afterAll(() => bench?.close());

  let stores = 0;
  /** The digest of a build and what `--json` says of it. */
  async function buildWith(major: number, ...args: string[]) {
    const { argv, env } = bench.command(['--recipe', './big.yaml', ...args, '--json'], {
      store: `node-${major}-${++stores}`,
    });
    const result = await run([nodeOf(major), ...argv.slice(1)], { cwd: bench.folder, env, timeout: 120 });
    if (result.code !== 0) throw new Error(digestIn(result));
    return JSON.parse(result.stdout);
  }

  test('are what they say', async () => {
    for (const major of majors) expect(await check([nodeOf(major), '--version'])).toMatch(new RegExp(`^v${major}\\.`));
  });

  test('one digest, uncompressed', async () => {
    const digests = [];
    for (const major of majors) digests.push((await buildWith(major)).digest);
    expect(new Set(digests).size).toBe(1);
  });

  test.each(['gzip', 'zstd'])('one digest per version of the compressor: %s', async (kind) => {
    const byCompressor = new Map<string, Set<string>>();
    const diffIds = new Set<string>();
    for (const major of majors) {
      const { digest, platforms } = await buildWith(major, '--compression', kind);
      const { layers } = platforms[0] as { layers: { diffId: string; compressor: string }[] };
      const key = kind === 'gzip' ? 'zlib' : 'zstd';
      const compressor = `${key} ${await check([nodeOf(major), '-p', `process.versions.${key}`])}`;
      // When two digests differ that should be equal, the output of the builds shows the reason.
      expect(layers.map((layer) => layer.compressor)).toEqual(layers.map(() => compressor));
      byCompressor.set(compressor, (byCompressor.get(compressor) ?? new Set()).add(digest));
      diffIds.add(layers.map((layer) => layer.diffId).join());
    }
    expect(diffIds.size).toBe(1);
    expect([...byCompressor].filter(([, digests]) => digests.size > 1)).toEqual([]);
    const digests = new Set([...byCompressor.values()].flatMap((some) => [...some]));
    console.log(`${kind}: ${digests.size} digest(s) by ${[...byCompressor.keys()].join(', ')}`);
  });
});
