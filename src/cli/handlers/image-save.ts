import { imageEpoch } from '../../build/image.ts';
import { processEnvironment } from '../../host/environment.ts';
import { KinaError } from '../../host/errors.ts';
import { choosePlatforms, nameOf, narrowImage, openImage } from '../../oci/image/select.ts';
import { writeOutput } from '../../oci/output/output.ts';
import { storeImage } from '../../oci/store/image.ts';
import { answer, type GlobalFlags, withProgress } from '../terminal/context.ts';
import { checkOutputs, output, platforms } from './shared/flag-values.ts';
import { openStore } from './shared/store.ts';

interface SaveFlags extends GlobalFlags {
  readonly output: string[];
  readonly platform: string | undefined;
}

export async function run(flags: SaveFlags, ref: string): Promise<void> {
  const outputs = flags.output.map(output);
  checkOutputs(outputs, false);
  if (!outputs.length)
    throw new KinaError('usage', '--output is missing', {
      hint: 'It looks like --output type=oci-archive,dest=node.tar.',
    });
  const wanted = flags.platform === undefined ? undefined : platforms(flags.platform);
  const mtime = imageEpoch(processEnvironment());
  const index = await withProgress(flags, async (reporter) => {
    const store = await openStore();
    const contents = await openImage(store, ref);
    const chosen = choosePlatforms(ref, contents, wanted);
    if (chosen.length > 1 && outputs.some((o) => o.type === 'docker-archive'))
      throw new KinaError(
        'usage',
        `a docker-archive holds a single platform, ${ref} has ${chosen.map(nameOf).join(', ')}`,
        {
          hint: 'Choose one with --platform, or write type=oci-archive.',
        },
      );
    const narrow = await narrowImage(store, contents, chosen);
    for (const { type, dest } of outputs)
      await writeOutput({ store, image: storeImage(store, narrow), refs: [ref], dest, type, reporter, mtime });
    return narrow;
  });
  if (!outputs.some((o) => o.dest === '-')) answer(`${ref}@${index.digest}`);
}
