import { KinaError } from '../../host/errors.ts';
import { choosePlatforms, nameOf, openImage } from '../../oci/image/select.ts';
import { version } from '../../session/version.ts';
import { answerJson, withSignal } from '../terminal/context.ts';
import { platforms } from './shared/flag-values.ts';
import { openStore } from './shared/store.ts';

interface SbomFlags {
  readonly format: string;
  readonly platform: string | undefined;
}

export async function run(flags: SbomFlags, ref: string): Promise<void> {
  const wanted = flags.platform === undefined ? undefined : platforms(flags.platform);
  const store = await openStore();
  const [image, ...others] = choosePlatforms(ref, await openImage(store, ref), wanted);
  if (!image || others.length)
    throw new KinaError('usage', `${ref} has several platforms; an SBOM describes a single one`, {
      hint: `Choose one, e.g. --platform ${image ? nameOf(image) : 'linux/amd64'}.`,
    });
  const { inventory } = await import('../../ops/trust/inventory.ts');
  const write =
    flags.format === 'spdx'
      ? (await import('../../ops/trust/spdx.ts')).spdx
      : (await import('../../ops/trust/cyclonedx.ts')).cyclonedx;
  answerJson(write(await withSignal(() => inventory(store, image)), ref, version));
}
