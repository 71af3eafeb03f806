import { defineCommand, flag } from '../command.ts';
import { insecureRegistryFlag, jsonFlag, lockedRecipeFlag, mirrorFlags } from '../flags.ts';

export const verify = defineCommand({
  name: 'verify',
  summary: 'Verify the digests, attestations and signature of an image, and with --rebuild that its lock reproduces it',
  arguments: [
    {
      name: '<ref>',
      description: 'name of the image, looked up in the store, then in its registry; docker://REF skips the store',
    },
  ],
  flags: [
    flag('--rebuild', 'build the image again from its lock and compare'),
    flag('--lock <file>', 'lock of the image (default: the attached one, or the one recorded in the store)'),
    lockedRecipeFlag,
    flag('--key <file>', 'public key (PEM) to verify signatures with'),
    flag('--identity <name>', 'instead of --key: identity of the signer, exactly as in the certificate'),
    flag('--issuer <url>', 'with --identity: issuer of the identity, e.g. https://token.actions.githubusercontent.com'),
    flag(
      '--trusted-root <file>',
      'certificates and keys of the Sigstore instance (trusted_root.json); required with --identity',
    ),
    flag('--require-signature', 'fail if the image has no signature by that key or identity'),
    ...mirrorFlags,
    insecureRegistryFlag,
    jsonFlag,
  ],
  examples: [
    ['kina verify localhost/kina/node:v1.34.2'],
    ['kina verify docker://ghcr.io/example/node:v1.34.2 --rebuild'],
    ['kina verify docker://ghcr.io/example/node:v1.34.2 --rebuild --lock kina.lock'],
    ['kina verify docker://ghcr.io/example/node:v1.34.2 --require-signature --key key.pub'],
  ],
  run: () => import('../handlers/verify.ts'),
});
