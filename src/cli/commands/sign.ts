import { defineCommand, flag } from '../command.ts';
import { insecureRegistryFlag, instanceFlags, jsonFlag } from '../flags.ts';

export const sign = defineCommand({
  name: 'sign',
  summary: 'Sign an image in a registry and attach the signature, for `kina verify` and cosign',
  arguments: [
    { name: '<ref>', description: 'name of the image; a digest makes sure that exactly this image is signed' },
  ],
  flags: [
    flag(
      '--key <file>',
      'private key (PEM; $KINA_SIGN_PASSPHRASE is its passphrase) (default: keyless, with the identity of the CI job)',
    ),
    ...instanceFlags,
    insecureRegistryFlag,
    jsonFlag,
  ],
  examples: [['kina sign ghcr.io/example/node@sha256:0123…'], ['kina sign ghcr.io/example/node:v1.34.2 --key key.pem']],
  run: () => import('../handlers/sign.ts'),
});
