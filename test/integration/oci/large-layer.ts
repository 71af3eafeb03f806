/** A layer of 512 MiB through store, compressor, archive and import, in FOLDER. Prints this process's peak memory in MiB. */
import { join } from 'node:path';
import { openArchive } from '../../../src/oci/archive/open.ts';
import { compressLayer } from '../../../src/oci/compress.ts';
import { mediaType } from '../../../src/oci/descriptor.ts';
import { buildImage, buildIndex } from '../../../src/oci/image/build.ts';
import { writeOutput } from '../../../src/oci/output/output.ts';
import { storeImage } from '../../../src/oci/store/image.ts';
import { keepImage } from '../../../src/oci/store/keep.ts';
import { Store } from '../../../src/oci/store/store.ts';

const folder = process.argv[2]!;
const store = await Store.open(join(folder, 'store'));

async function* content(): AsyncGenerator<Uint8Array> {
  const chunk = Buffer.alloc(1 << 16, 'kina');
  for (let i = 0; i < 8192; i++) yield chunk;
}
const layer = await store.write(content());
const plain = { mediaType: mediaType.layer, ...layer };
await compressLayer(store, plain, { kind: 'zstd' });
const { manifest } = await buildImage(store, {
  platform: { os: 'linux', architecture: 'amd64' },
  config: {},
  created: 0,
  layers: [{ diffId: layer.digest, descriptor: plain, history: { createdBy: 'test' } }],
});
const dest = join(folder, 'x.tar');
const image = storeImage(store, await buildIndex(store, [manifest]));
await writeOutput({ store, image, refs: ['x'], type: 'oci-archive', dest });
const other = await Store.open(join(folder, 'other'));
for (const found of await openArchive(other, dest)) await keepImage(other, found);
console.log(Math.round(process.resourceUsage().maxRSS / 1024));
