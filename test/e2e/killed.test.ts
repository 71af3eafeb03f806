/**
 * `kill -9` at fifty moments of a build, drawn with a fixed seed: whatever was cut, the next build in that store gives
 * the same image and the same output as always, and nothing of the killed one is left. The moments that are known to
 * matter are in test/integration/cli/interrupt.heavy.test.ts; these are random ones.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { sha256 } from '../../src/host/json.ts';
import { type Bench, digestIn, openBench, smallRecipe } from '../support/kina.ts';
import { describeWith } from '../support/requirements.ts';
import { sendFile } from '../support/server.ts';

const moments = 50;

/** Big enough that the download, the layer, its compression and the output each take a moment. */
const big = Buffer.alloc(16 << 20);
for (let i = 0; i < big.length; i += 64) big.writeUInt32LE(Math.imul(i, 0x9e3779b1) >>> 0, i);

describeWith('a build killed at any moment', ['full tier'], () => {
  let bench: Bench;
  let undisturbed: string;
  /** Milliseconds of a build from an empty store. */
  let whole: number;
  const outputs = ['type=oci-archive,dest=node.tar', 'type=oci,dest=layout'] as const;
  const args = (output: string) => ['--recipe', './big.yaml', '--compression', 'zstd', '--output', output];

  beforeAll(async () => {
    bench = await openBench();
    bench.upstream.intercept = (path, response) => {
      if (path !== '/files.example/big') return false;
      sendFile(response.req, response, big);
      return true;
    };
    const step = `{ path: srv/big, url: "https://files.example/big", checksum: { sha256: ${sha256(big).slice(7)} } }`;
    const recipe = `name: big\nextends: ${smallRecipe}\nlayers: [{ name: big, steps: [{ file: ${step} }] }]\n`;
    await writeFile(join(bench.folder, 'big.yaml'), recipe);
    const result = await bench.build(args('type=oci-archive,dest=undisturbed.tar'), { store: 'undisturbed' });
    undisturbed = digestIn(result);
    whole = result.ms;
  });
  afterAll(() => bench?.close());

  test('fifty times: the next build gives what it always gives, and leaves nothing of the killed one', async () => {
    const random = mulberry32(20200101);
    const archive = sha256(readFileSync(join(bench.folder, 'undisturbed.tar')));
    const killed: number[] = [];
    // A build may have ended before its moment: then that moment does not count.
    for (let n = 0; killed.length < moments && n < 2 * moments; n++) {
      // Every fifth round begins with an empty store; the others do all work again on what the last ones left.
      const store = `killed-${Math.floor(n / 5)}`;
      const output = outputs[n % 2]!;
      const after = Math.round(random() * whole);
      const running = bench.start([...args(output), '--no-cache'], { store });
      await sleep(after);
      running.process.kill('SIGKILL');
      const { code } = await running.ended;
      if (code === 137) killed.push(after);
      const next = await bench.build(args(output), { store });
      expect(digestIn(next), `killed after ${after} ms, ${output}`).toBe(undisturbed);
      const left = [...readdirSync(bench.folder), ...readdirSync(join(bench.folder, store, 'tmp'))];
      expect(left.filter((name) => name.endsWith('.tmp') || /^[0-9a-f]{8}-\d+-/.test(name))).toEqual([]);
      if (n % 2 === 0) expect(sha256(readFileSync(join(bench.folder, 'node.tar')))).toBe(archive);
      const verified = await bench.kina(['cache', 'verify'], { store });
      expect(verified.code, `killed after ${after} ms: ${verified.stdout}${verified.stderr}`).toBe(0);
      if (n % 5 === 4) {
        await rm(join(bench.folder, store), { recursive: true });
        await rm(join(bench.folder, 'layout'), { recursive: true });
      }
    }
    expect(killed).toHaveLength(moments);
    console.log(`killed after ${killed.join(', ')} of ${whole} ms`);
  });
});

/** A small generator of numbers from 0 to 1, the same for the same seed. */
function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
