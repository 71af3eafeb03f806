/** `kina image sbom`: what is in an image, for machines. */
import { Command, Option } from 'commander';
import { KinaError } from '../../host/errors.ts';
import { choosePlatforms, nameOf, openImage } from '../../oci/image/select.ts';
import { answerJson, version, withSignal } from '../terminal/context.ts';
import { platforms } from './options.ts';
import { openStore } from './store.ts';

export function sbomCommand(): Command {
  return new Command('sbom')
    .description('list what is in an image: Debian packages with licences, upstream artifacts, images to preload')
    .argument('<ref>', 'name of the image')
    .addOption(
      new Option('--format <format>', 'spdx (2.3) or cyclonedx (1.6)').default('spdx').choices(['spdx', 'cyclonedx']),
    )
    .option('--platform <platform>', 'linux/arm64 or linux/amd64 (default: the only one)')
    .action(async (ref: string, flags: { format: string; platform?: string }) => {
      const wanted = flags.platform === undefined ? undefined : platforms(flags.platform);
      const store = await openStore();
      const [image, ...others] = choosePlatforms(ref, await openImage(store, ref), wanted);
      if (!image || others.length)
        throw new KinaError('usage', `${ref} has several platforms, and a document is about one`, {
          hint: `Say which: --platform ${image ? nameOf(image) : 'linux/amd64'}.`,
        });
      const { inventory } = await import('../../ops/trust/inventory.ts');
      const write =
        flags.format === 'spdx'
          ? (await import('../../ops/trust/spdx.ts')).spdx
          : (await import('../../ops/trust/cyclonedx.ts')).cyclonedx;
      answerJson(write(await withSignal(() => inventory(store, image)), ref, version));
    });
}
