import { defineCommand, flag } from '../command.ts';
import { insecureRegistryFlag, jsonFlag, mirrorFlag } from '../flags.ts';

export const copy = defineCommand({
  name: 'copy',
  summary: 'Copy an image between registries, layout directories and archives without unpacking it',
  arguments: [
    {
      name: '<src>',
      description: '[docker://]REFERENCE, oci:DIR[:NAME], oci-archive:FILE[:NAME] or docker-archive:FILE[:NAME]',
    },
    { name: '<dest>', description: 'destination, in the same forms' },
  ],
  flags: [
    mirrorFlag,
    insecureRegistryFlag,
    flag('--no-referrers', 'do not copy attached SBOMs, provenance and signatures'),
    jsonFlag,
  ],
  examples: [
    ['kina copy ghcr.io/example/node:v1.34.2 registry.example.org/node:v1.34.2'],
    ['kina copy ghcr.io/example/node:v1.34.2 oci-archive:node.tar'],
    ['kina copy oci:layout 127.0.0.1:5000/node:v1.34.2'],
  ],
  run: () => import('../handlers/copy.ts'),
});
