/** Stores in odd places and under many hands: another file system, a disk that does not tell a from A, ten builds at once. */
import { mkdtemp, readdir, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openWorkshop } from '../../support/build.ts';
import { digestIn, openBench, smallRecipe, version } from '../../support/kina.ts';
import { describeUnless } from '../../support/requirements.ts';
import { startUpstream } from '../../support/upstream.ts';

test('ten builds at once on one empty store: the same image ten times, every name kept, nothing left behind', async () => {
  const bench = await openBench();
  try {
    const numbers = Array.from({ length: 10 }, (_, i) => i);
    const all = await Promise.all(numbers.map((n) => bench.build(['--tag', `many:${n}`])));
    expect(new Set(all.map(digestIn)).size).toBe(1);
    const listed = JSON.parse((await bench.kina(['image', 'ls', '--json'])).stdout) as { ref: string }[];
    expect(listed.map((i) => i.ref).sort()).toEqual(numbers.map((n) => `many:${n}`));
    expect(await readdir(join(bench.folder, 'store/tmp'))).toEqual([]);
    // Alone, in a store of its own, it is the same.
    expect(digestIn(await bench.build([], { store: 'alone' }))).toBe(digestIn(all[0]!));
  } finally {
    await bench.close();
  }
});

test('no two names in the store differ only in case, and none needs more than letters, digits, dot and dash', async () => {
  const upstream = await startUpstream();
  const workshop = await openWorkshop({ mirror: [upstream.url] });
  try {
    const built = await workshop.build({
      recipe: smallRecipe,
      source: version,
      platforms: ['linux/amd64', 'linux/arm64'],
    });
    await workshop.tools.store.tag('localhost/Mixed/CASE:Tag', built.index);
    await workshop.tools.store.tag('localhost/mixed/case:tag', built.index);
    const names = await readdir(workshop.tools.store.root, { recursive: true });
    expect(names.length).toBeGreaterThan(50);
    // One case only: then names that differ differ on every disk. Windows' reserved characters do not occur either.
    for (const name of names) expect(name).toMatch(/^[a-z0-9./-]+$/);
  } finally {
    await workshop.close();
    await upstream.stop();
  }
});

const sameDevice = async (): Promise<string | undefined> => {
  const shm = await statfs('/dev/shm').catch(() => undefined);
  if (!shm) return 'there is no /dev/shm';
  return shm.type === (await statfs(tmpdir())).type ? '/dev/shm and the temporary folder are of one kind' : undefined;
};

describeUnless(await sameDevice(), 'a store on a different file system from temporary files and output', () => {
  test('the same digest, and an archive on the third side', async () => {
    const bench = await openBench();
    const elsewhere = await mkdtemp('/dev/shm/kina-store-');
    try {
      const here = digestIn(await bench.build());
      const env = { KINA_CACHE_DIR: join(elsewhere, 'store') };
      const there = await bench.build(['-o', 'type=oci-archive,dest=node.tar', '-o', 'type=oci,dest=layout'], { env });
      expect(digestIn(there)).toBe(here);
      expect(await readdir(bench.folder)).toEqual(expect.arrayContaining(['node.tar', 'layout']));
    } finally {
      await rm(elsewhere, { recursive: true, force: true });
      await bench.close();
    }
  });
});
