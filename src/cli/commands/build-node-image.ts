import { defineCommand, flag } from '../command.ts';
import {
  compressionNames,
  jsonFlag,
  metadataDescription,
  outputDescription,
  signingFlags,
  sourceFlags,
} from '../flags.ts';

export const buildNodeImage = defineCommand({
  name: 'build node-image',
  summary: 'Build a node image',
  arguments: [
    {
      name: '[source]',
      description:
        'Kubernetes version or marker (v1.34.2, 1.34, stable, latest, ci/latest), URL or file of a server tarball, directory of binaries, or source tree to compile',
    },
  ],
  flags: [
    ...sourceFlags,
    flag('-t, --tag <ref>', 'name of the image in the store (repeatable; default: localhost/kina/node:VERSION)', {
      repeatable: true,
    }),
    flag('--image <ref>', 'same as --tag, with the name that kind uses'),
    flag('-o, --output <spec>', `also write ${outputDescription}`, { repeatable: true }),
    flag('--compression <kind[:level]>', 'none, zstd or gzip (default: none; zstd with --push)', {
      values: compressionNames,
    }),
    flag('--lock <file>', 'build from this lock'),
    flag('--locked', 'build from kina.lock; fail if it does not match the recipe'),
    flag('--no-cache', 'rebuild every layer'),
    flag('--cache-from <repository>', 'registry repository to read cached images and layers from (repeatable)', {
      repeatable: true,
    }),
    flag('--cache-to <repository>', 'registry repository to write images and layers to (repeatable)', {
      repeatable: true,
    }),
    flag('--push', 'push the image to the registry in each --tag'),
    flag('--metadata-file <file>', `with --push: ${metadataDescription}`),
    flag('--sbom', 'with --push: attach an SPDX document for each platform'),
    flag('--provenance', 'with --push: attach a SLSA provenance document'),
    ...signingFlags('with --push: '),
    flag('--report <file>', 'also write an HTML report: timeline, sizes, versions, licences'),
    flag('--dry-run', 'print the plan without building'),
    jsonFlag,
  ],
  examples: [
    ['kina build node-image v1.34.2', 'for the platform of this host, into the store'],
    ['kina build node-image 1.34 --platform linux/arm64,linux/amd64 -o type=oci-archive,dest=node.tar'],
    ['kina build node-image --recipe debian', 'everything from the Debian archive'],
    ['kina build node-image v1.34.2 --tag ghcr.io/example/node:v1.34.2 --push'],
    ['kina build node-image v1.34.2 --dry-run', 'print what the image will contain'],
  ],
  run: () => import('../handlers/build-node-image.ts'),
});
