/** `kina sign`: signs an image that is in a registry already. */
import { Command } from 'commander';
import { answer, answerJson, type GlobalFlags, version, withProgress } from '../terminal/context.ts';
import { insecureOption } from './shared.ts';
import { addInstanceOptions, type InstanceFlags, signer } from './signing.ts';

interface SignFlags extends InstanceFlags, GlobalFlags {
  key?: string;
  insecureRegistry: string[];
  json: boolean;
}

export function signCommand(): Command {
  return addInstanceOptions(
    new Command('sign')
      .description('sign an image in a registry; the signature is put beside it, where cosign and kina verify find it')
      .argument('<ref>', 'name of the image; with a digest nobody can exchange it before it is signed')
      .option(
        '--key <file>',
        "private key (PEM; KINA_SIGN_PASSPHRASE opens it); default: the pipeline's identity, keyless",
      ),
  )
    .addOption(insecureOption())
    .option('--json', 'answer as JSON', false)
    .addHelpText(
      'after',
      `
Examples:
  kina sign ghcr.io/example/node@sha256:0123…
  kina sign ghcr.io/example/node:v1.34.2 --key key.pem`,
    )
    .action(async (ref: string, _own: unknown, command: Command) => run(ref, command.optsWithGlobals<SignFlags>()));
}

async function run(ref: string, flags: SignFlags): Promise<void> {
  const { formatReference, parseReference } = await import('../../oci/reference.ts');
  const named = ref.replace(/^docker:\/\//, '');
  const to = parseReference(named);
  const { writingTransport } = await import('../../ops/registry/publish.ts');
  const { resolveReference } = await import('../../oci/registry/client.ts');
  const { attachSignature } = await import('../../ops/trust/attach-signature.ts');
  const { image, signature } = await withProgress(flags, async (_, signal) => {
    const by = await signer(flags.key, flags, signal);
    const transport = writingTransport({ insecureRegistries: flags.insecureRegistry, version, signal });
    const { descriptor } = await resolveReference(named, transport, signal);
    const digest = await attachSignature(to, descriptor, [], by, { transport, signal });
    return { image: descriptor.digest, signature: digest };
  });
  const signed = formatReference({ ...to, digest: image });
  if (flags.json)
    return answerJson({ image: signed, signature: formatReference({ ...to, tag: undefined, digest: signature }) });
  answer(signed);
}
