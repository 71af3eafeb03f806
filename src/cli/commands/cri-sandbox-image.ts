import { defineCommand } from '../command.ts';
import { criConfigFlag, criProviderFlag, insecureRegistryFlag, mirrorFlags, sandboxImageFlag } from '../flags.ts';

export const criSandboxImage = defineCommand({
  name: 'cri sandbox-image',
  summary: 'Build and load the sandbox image, as `kina cri serve` does at startup, and print its name',
  flags: [criConfigFlag, criProviderFlag, sandboxImageFlag, ...mirrorFlags, insecureRegistryFlag],
  run: () => import('../handlers/cri-sandbox-image.ts'),
});
