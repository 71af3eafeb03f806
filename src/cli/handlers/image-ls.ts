import { listImages } from '../../oci/image/inspect.ts';
import { answer, answerJson } from '../terminal/context.ts';
import { bytes, table } from '../terminal/format.ts';
import { openStore } from './shared/store.ts';

export async function run(options: { readonly json: boolean }): Promise<void> {
  const images = await listImages(await openStore());
  if (options.json) return answerJson(images);
  if (images.length === 0)
    return void process.stderr.write('No images in the store. Build one with `kina build node-image`.\n');
  answer(
    table(
      [
        ['NAME', 'DIGEST', 'PLATFORMS', 'SIZE'],
        ...images.map((i) => [
          i.ref,
          i.digest.slice(0, 19),
          i.damage ? `damaged: ${i.damage}` : i.platforms.join(', '),
          bytes(i.size),
        ]),
      ],
      [3],
    ),
  );
}
