import { formatReference, parseReference } from '../../oci/reference.ts';
import { resolveReference } from '../../oci/registry/client.ts';
import { attachSignature } from '../../ops/trust/attach-signature.ts';
import type { InstanceFlags } from '../flags.ts';
import { answer, answerJson, type GlobalFlags, withProgress } from '../terminal/context.ts';
import { sessionFor } from './shared/session.ts';
import { signer } from './shared/signing.ts';

interface SignFlags extends InstanceFlags, GlobalFlags {
  key?: string;
  insecureRegistry: string[];
  json: boolean;
}

export async function run(flags: SignFlags, ref: string): Promise<void> {
  const named = ref.replace(/^docker:\/\//, '');
  const to = parseReference(named);
  const { image, signature } = await withProgress(flags, async (_, signal) => {
    const by = await signer(flags.key, flags, signal);
    const { uploads: transport } = await sessionFor(flags, {}, signal);
    const { descriptor } = await resolveReference(named, transport, signal);
    const digest = await attachSignature(to, descriptor, [], by, { transport, signal });
    return { image: descriptor.digest, signature: digest };
  });
  const signed = formatReference({ ...to, digest: image });
  if (flags.json)
    return answerJson({ image: signed, signature: formatReference({ ...to, tag: undefined, digest: signature }) });
  answer(signed);
}
