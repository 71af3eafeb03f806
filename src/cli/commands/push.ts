import { defineCommand, flag } from '../command.ts';
import {
  compressionNames,
  insecureRegistryFlag,
  jsonFlag,
  metadataDescription,
  platformsFlag,
  signingFlags,
} from '../flags.ts';

export const push = defineCommand({
  name: 'push',
  summary: 'Push an image from the store to registries; only missing blobs are sent',
  arguments: [
    { name: '<ref>', description: 'name of the image in the store' },
    { name: '[dest...]', description: 'names in registries (default: the same name)' },
  ],
  flags: [
    flag(
      '--compression <kind[:level]>',
      'recompress all layers with zstd or gzip, or none (default: zstd for uncompressed layers)',
      { values: compressionNames },
    ),
    platformsFlag,
    flag('--metadata-file <file>', metadataDescription),
    flag('--sbom', 'attach an SPDX document for each platform'),
    flag('--provenance', 'attach a SLSA provenance document (for images built on this host)'),
    ...signingFlags(),
    insecureRegistryFlag,
    jsonFlag,
  ],
  examples: [
    ['kina push ghcr.io/example/node:v1.34.2'],
    ['kina push localhost/kina/node:v1.34.2 ghcr.io/example/node:v1.34.2 ghcr.io/example/node:latest'],
    ['kina push localhost/kina/node:v1.34.2 127.0.0.1:5000/node:v1.34.2 --compression gzip'],
    ['kina push ghcr.io/example/node:v1.34.2 --sbom --provenance --sign-key key.pem'],
  ],
  run: () => import('../handlers/push.ts'),
});
