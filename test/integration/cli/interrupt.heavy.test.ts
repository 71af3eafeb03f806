/**
 * Builds that are interrupted by Ctrl-C, `kill -9` or a concurrent build: the next build gets the same image, and nothing
 * incomplete is ever used.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { sha256 } from '../../../src/host/json.ts';
import { type Bench, digestIn, openBench, type RunningKina, smallRecipe } from '../../support/kina.ts';
import { sendFile } from '../../support/server.ts';

/** Big enough that fetching, writing a layer and writing an archive each take a moment. */
const big = Buffer.alloc(48 << 20);
for (let i = 0; i < big.length; i += 4096) big.writeUInt32LE(i, i);
const recipe = 'big.yaml';

let bench: Bench;
let undisturbed: string;
let archive: string;
const fileDigest = (name: string): string => sha256(readFileSync(join(bench.folder, name)));
beforeAll(async () => {
  bench = await openBench();
  bench.upstream.intercept = (path, response) => {
    if (path !== '/files.example/big') return false;
    sendFile(response.req, response, big);
    return true;
  };
  await writeFile(
    join(bench.folder, recipe),
    `name: big
extends: ${smallRecipe}
layers:
  - name: big
    steps:
      - file: { path: srv/big, url: "https://files.example/big", checksum: { sha256: ${sha256(big).slice(7)} } }
`,
  );
  const output = ['--output', 'type=oci-archive,dest=undisturbed.tar'];
  undisturbed = digestIn(await bench.build(['--recipe', `./${recipe}`, ...output], { store: 'undisturbed' }));
  archive = fileDigest('undisturbed.tar');
});
afterAll(() => bench.close());

const args = ['--recipe', `./${recipe}`, '--output', 'type=oci-archive,dest=node.tar'];

/** Names below a folder of a store; none when the folder is not there yet. */
function names(store: string, folder: string): string[] {
  try {
    return readdirSync(join(bench.folder, store, folder));
  } catch {
    return [];
  }
}
const sizeOf = (path: string): number => {
  try {
    return statSync(path).size;
  } catch {
    return 0;
  }
};
const biggest = (store: string, folder: string): number =>
  Math.max(0, ...names(store, folder).map((name) => sizeOf(join(bench.folder, store, folder, name))));

/** Moments of a build, recognized by its files or requests. */
const moments: Record<string, (store: string, asked: number) => boolean> = {
  'the store appears': (store) => names(store, 'users').length > 0,
  'the first question to upstream': (_store, asked) => bench.upstream.requests.length > asked,
  'many questions to upstream': (_store, asked) => bench.upstream.requests.length > asked + 12,
  'the first partial download': (store) => names(store, 'partial').length > 0,
  'half of the big download': (store) => biggest(store, 'partial') > big.length / 2,
  'the big download is a blob': (store) => biggest(store, 'blobs/sha256') >= big.length,
  'something is unpacked': (store) => names(store, 'unpacked').length > 0,
  'a layer is being written': (store) => biggest(store, 'tmp') > 8 << 20,
  'the first layer is remembered': (store) => names(store, 'records/layer').length > 0,
  'the archive is being written': () =>
    readdirSync(bench.folder).some((n) => n.startsWith('node.tar.') && sizeOf(join(bench.folder, n)) > 4 << 20),
};

async function cut(moment: string, signal: NodeJS.Signals, store: string): Promise<RunningKina> {
  const running = bench.start(args, { store });
  const asked = bench.upstream.requests.length;
  await running.until(() => moments[moment]!(store, asked));
  running.process.kill(signal);
  return running;
}

describe('Ctrl-C', () => {
  test.each(Object.keys(moments))('when %s', async (moment) => {
    const store = `interrupted ${moment}`;
    const running = await cut(moment, 'SIGINT', store);
    const result = await running.ended;
    expect(result.stderr).toContain('ERROR: interrupted by SIGINT');
    expect(result.stderr).not.toContain('bug in kina');
    expect(result.code).toBe(130);
    expect(result.stdout).toBe('');
    // At once: it does not wait for downloads that are no longer needed.
    expect(names(store, 'tmp')).toEqual([]);
    expect(readdirSync(bench.folder).filter((n) => n.startsWith('node.tar'))).toEqual([]);
    expect(digestIn(await bench.build(args.slice(0, 2), { store }))).toBe(undisturbed);
  });

  test('twice: exits at once', async () => {
    const running = await cut('half of the big download', 'SIGINT', 'twice');
    running.process.kill('SIGINT');
    expect((await running.ended).code).toBe(130);
    expect(digestIn(await bench.build(args.slice(0, 2), { store: 'twice' }))).toBe(undisturbed);
  });
});

describe('kill -9', () => {
  test('at every moment, one after the other, in one store', async () => {
    const store = 'killed';
    for (const moment of Object.keys(moments)) {
      // What an earlier round finished is not done again, so its moment may not come: that build may end.
      const running = bench.start([...args, '--no-cache'], { store });
      const asked = bench.upstream.requests.length;
      await running.until(() => moments[moment]!(store, asked)).catch(() => {});
      running.process.kill('SIGKILL');
      await running.ended;
    }
    expect(digestIn(await bench.build(args, { store }))).toBe(undisturbed);
    expect(fileDigest('node.tar')).toBe(archive);
    // What the killed ones left is swept, and what is left is all that the image needs.
    const pruned = await bench.kina(['cache', 'prune', '--all'], { store });
    expect(pruned).toMatchObject({ code: 0, stderr: '' });
    expect(names(store, 'tmp')).toEqual([]);
    expect(names(store, 'partial')).toEqual([]);
    expect(digestIn(await bench.build(args.slice(0, 2), { store }))).toBe(undisturbed);
    // Every blob is what its name says.
    for (const name of names(store, 'blobs/sha256'))
      expect(sha256(readFileSync(join(bench.folder, store, 'blobs/sha256', name)))).toBe(`sha256:${name}`);
  });
});

describe('two concurrent builds', () => {
  test('on one empty store: the same image, everything stored once', async () => {
    const both = await Promise.all(
      [1, 2].map((n) => bench.build([...args.slice(0, 2), '--tag', `both:${n}`], { store: 'both' })),
    );
    expect(both.map(digestIn)).toEqual([undisturbed, undisturbed]);
    expect(names('both', 'tmp')).toEqual([]);
    const listed = JSON.parse((await bench.kina(['image', 'ls', '--json'], { store: 'both' })).stdout);
    expect(listed.map((i: { ref: string }) => i.ref)).toEqual(['both:1', 'both:2']);
  });

  test('a concurrent prune removes nothing that a build needs', async () => {
    const running = await bench.start(args.slice(0, 2), { store: 'pruned' });
    await running.until(() => moments['the big download is a blob']!('pruned', 0));
    const pruned = await bench.kina(['cache', 'prune', '--all'], { store: 'pruned' });
    expect(pruned.code).toBe(0);
    expect(digestIn(await running.ended)).toBe(undisturbed);
  });
});
