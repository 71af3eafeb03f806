import { defineCommand, flag } from '../command.ts';
import { imageArgument, platformNames } from '../flags.ts';

export const imageSbom = defineCommand({
  name: 'image sbom',
  summary: 'Print the SBOM of an image: Debian packages with licences, upstream artifacts, preloaded images',
  arguments: [imageArgument],
  flags: [
    flag('--format <format>', 'spdx (2.3) or cyclonedx (1.6)', { default: 'spdx', choices: ['spdx', 'cyclonedx'] }),
    flag('--platform <platform>', 'linux/arm64 or linux/amd64 (default: the only one)', { values: platformNames }),
  ],
  run: () => import('../handlers/image-sbom.ts'),
});
