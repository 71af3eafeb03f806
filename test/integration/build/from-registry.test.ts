/** An image of a registry as the ground of a layer: pinned by its lock, layers in the order of the image. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pack } from 'tar-stream';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Transport } from '../../../src/host/http.ts';
import { silent } from '../../../src/host/progress.ts';
import { compressLayer } from '../../../src/oci/compress.ts';
import { mediaType } from '../../../src/oci/descriptor.ts';
import { buildImage, buildIndex } from '../../../src/oci/image/build.ts';
import { platformOf } from '../../../src/oci/platform.ts';
import { parseReference } from '../../../src/oci/reference.ts';
import { pushImage } from '../../../src/oci/registry/push.ts';
import { storeImage } from '../../../src/oci/store/image.ts';
import { Store } from '../../../src/oci/store/store.ts';
import { check } from '../../support/command.ts';
import { type Bench, digestIn, openBench } from '../../support/kina.ts';
import { startRegistry } from '../../support/registry.ts';
import { describeUnless } from '../../support/requirements.ts';

const registry = await startRegistry();
const host = registry.skip !== undefined ? '' : registry.host;

/** Pushes an image of `count` layers; each says in `etc/top` which it is. */
async function publish(folder: string, ref: string, count: number): Promise<void> {
  const store = await Store.open(join(folder, 'base-store'));
  const layers = [];
  for (let n = 1; n <= count; n++) {
    const tar = pack();
    tar.entry({ name: 'etc/', type: 'directory', mode: 0o755 });
    tar.entry({ name: 'etc/top', mode: 0o644 }, `layer ${n} of ${count}`);
    tar.finalize();
    const plain = { mediaType: mediaType.layer, ...(await store.writeBytes(await buffer(tar))) };
    const descriptor = await compressLayer(store, plain, { kind: n % 2 ? 'gzip' : 'zstd' });
    layers.push({ diffId: plain.digest, descriptor, history: { createdBy: `layer ${n}` } });
  }
  const { manifest } = await buildImage(store, { platform: platformOf('amd64'), layers, config: {}, created: 0 });
  const root = await buildIndex(store, [manifest]);
  const transport = new Transport();
  await pushImage({
    image: storeImage(store, root),
    references: [parseReference(ref)],
    transport,
    reporter: silent,
    store,
  });
  await transport.close();
}

describeUnless(registry.skip, 'from: an image of a registry', () => {
  let folder: string;
  let bench: Bench;
  const recipe = () => join(folder, 'recipe.yaml');
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kina-from-'));
    bench = await openBench();
    await publish(folder, `${host}/base:v1`, 11);
    await writeFile(
      recipe(),
      [
        'name: based',
        'description: On an image of a registry',
        'layers:',
        `  - { name: base, steps: [{ from: { image: "${host}/base:v1" } }] }`,
        '  - { name: own, steps: [{ file: { path: etc/own, content: "mine" } }] }',
      ].join('\n'),
    );
  });
  afterAll(async () => {
    await bench?.close();
    await rm(folder, { recursive: true, force: true });
    if (registry.skip === undefined) await registry.stop();
  });
  const build = (...args: string[]) =>
    bench.kina(['build', 'node-image', '--recipe', recipe(), '--platform', 'linux/amd64', '--tag', 'based:1', ...args]);
  /** What the image has in `etc/top`. */
  const top = async (): Promise<string> => {
    const tar = join(folder, 'based.tar');
    expect((await bench.kina(['image', 'save', 'based:1', '--output', `type=docker-archive,dest=${tar}`])).code).toBe(
      0,
    );
    const script =
      'for l in $(bsdtar -tf "$1" | grep blobs/sha256/.); do bsdtar -xOf "$1" "$l" | bsdtar -xOf - etc/top 2>/dev/null; done; true';
    return check(['sh', '-c', script, 'sh', tar]);
  };

  test('eleven layers lie over each other as in the image, with and without a lock; a moved tag moves no lock', async () => {
    const lock = join(folder, 'kina.lock');
    const plain = digestIn(await build());
    expect(await top()).toBe('layer 11 of 11');
    const locked = await bench.kina(['lock', '--recipe', recipe(), '--platform', 'linux/amd64', '--output', lock]);
    expect(locked.code).toBe(0);
    expect(digestIn(await build('--lock', lock, '--no-cache'))).toBe(plain);
    expect(await top()).toBe('layer 11 of 11');

    await publish(folder, `${host}/base:v1`, 12);
    expect(digestIn(await build('--lock', lock, '--no-cache'))).toBe(plain);
    expect(digestIn(await build())).not.toBe(plain);
  });

  test('an image that is not there, or for another platform, is named', async () => {
    const refused = await bench.kina(['build', 'node-image', '--recipe', recipe(), '--platform', 'linux/arm64']);
    expect(refused.stderr).toContain(`${host}/base:v1 is not available for linux/arm64`);
    await writeFile(
      join(folder, 'both.yaml'),
      'name: both\ndescription: x\nlayers: [{ name: a, steps: [{ from: { source: x, image: y } }] }]\n',
    );
    const both = await bench.kina(['build', 'node-image', '--recipe', join(folder, 'both.yaml')]);
    expect(both).toMatchObject({ code: 2, stdout: '' });
    expect(both.stderr).toContain('give exactly one of source, image');
  });
});
