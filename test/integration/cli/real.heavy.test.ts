/** The real node recipe with real release files over a faulty connection: what works for the small recipe works for gigabytes. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Bench, digestIn, openBench } from '../../support/kina.ts';
import { startMirror } from '../../support/mirror.ts';
import { describeUnless, noDebianMirror } from '../../support/requirements.ts';

const good = await startMirror();
const bad = await startMirror({ failRate: 0.2, seed: 7 });
const corrupt = await startMirror({ corrupt: ['runc.amd64', 'kube-scheduler.tar'] });
const skip = good.skip ?? bad.skip ?? corrupt.skip ?? (await noDebianMirror());

describeUnless(skip, 'the node recipe, Kubernetes v1.20.2', () => {
  let bench: Bench;
  let undisturbed: string;
  const env = { KINA_DEBIAN_CHECK_VALID_UNTIL: process.env.KINA_DEBIAN_CHECK_VALID_UNTIL };
  const args = (mirror: typeof good): string[] => {
    if (mirror.skip !== undefined) throw new Error(mirror.skip);
    return ['build', 'node-image', 'v1.20.2', '--platform', 'linux/amd64', '--mirror', mirror.url];
  };
  const build = (mirror: typeof good, store: string) => bench.kina(args(mirror), { store, env, timeout: 600 });
  beforeAll(async () => {
    bench = await openBench();
    undisturbed = digestIn(await build(good, 'undisturbed'));
  }, 900_000);
  afterAll(async () => {
    await bench?.close();
    for (const mirror of [good, bad, corrupt]) if (mirror.skip === undefined) await mirror.stop();
  });

  test('every fifth transfer is reset in the middle: the same image', async () => {
    expect(digestIn(await build(bad, 'bad-line'))).toBe(undisturbed);
    if (bad.skip === undefined) expect(bad.log.filter((r) => r.fault === 'reset').length).toBeGreaterThan(2);
  });

  test('files with one wrong byte: reported, and not kept', async () => {
    const result = await build(corrupt, 'corrupt');
    expect(result.code).toBe(1);
    expect(result.stdout).toBe('');
    expect(result.stderr).toMatch(
      /ERROR: (runc|kube-scheduler\.tar v1\.20\.2) from https:\/\/\S+ has the wrong size or digest/,
    );
    expect(digestIn(await build(good, 'corrupt'))).toBe(undisturbed);
  });

  test('Ctrl-C again and again while hundreds of megabytes come in: prompt, and nothing is fetched twice', async () => {
    const store = 'interrupted';
    const received = async (): Promise<number> => {
      let sum = 0;
      for (const folder of ['partial', 'blobs/sha256'])
        for (const name of await readdir(join(bench.folder, store, folder)).catch(() => []))
          sum += (await stat(join(bench.folder, store, folder, name)).catch(() => ({ size: 0 }))).size;
      return sum;
    };
    const before = good.skip === undefined ? good.log.length : 0;
    for (const megabytes of [80, 250, 450]) {
      const running = bench.run(args(good), { store, env });
      await running.until(async () => (await received()) > megabytes * 1e6);
      const pressed = performance.now();
      running.process.kill('SIGINT');
      const result = await running.ended;
      expect(result.code).toBe(130);
      expect(performance.now() - pressed).toBeLessThan(10_000);
    }
    expect(digestIn(await build(good, store))).toBe(undisturbed);
    if (good.skip !== undefined) return;
    const sent = good.log.slice(before).reduce((sum, r) => sum + (r.method === 'GET' ? r.bytes : 0), 0);
    const whole = good.log.slice(0, before).reduce((sum, r) => sum + (r.method === 'GET' ? r.bytes : 0), 0);
    // What was on its way in each of the three moments may come again: at most the buffers of eight connections.
    expect(sent).toBeLessThan(whole * 1.15);
  });
});
