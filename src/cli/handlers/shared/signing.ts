/** How to sign, for the commands that do: keyless, as pipelines do it, or with a key. */
import { processEnvironment } from '../../../host/environment.ts';
import { KinaError } from '../../../host/errors.ts';
import type { ImageSigner } from '../../../ops/trust/sign.ts';
import { type InstanceFlags, publicInstance, type SigningFlags } from '../../flags.ts';

/** Undefined when nothing is to be signed. Throws `usage` for everything that can be known before the work. */
export async function signerFor(flags: SigningFlags, signal?: AbortSignal): Promise<ImageSigner | undefined> {
  const { sign, signKey, fulcioUrl, rekorUrl } = flags;
  if (sign && signKey !== undefined)
    throw new KinaError('usage', '--sign and --sign-key exclude each other', {
      hint: "--sign uses the pipeline's identity, --sign-key FILE a key.",
    });
  if (!sign && (fulcioUrl !== undefined || rekorUrl !== undefined))
    throw new KinaError('usage', '--fulcio-url and --rekor-url are about keyless signatures: they need --sign');
  return sign || signKey !== undefined ? signer(signKey, flags, signal) : undefined;
}

/** With the key in this file, else keyless. Throws `usage`. */
export async function signer(
  key: string | undefined,
  { fulcioUrl, rekorUrl }: InstanceFlags,
  signal?: AbortSignal,
): Promise<ImageSigner> {
  const { keylessSigner, keySigner } = await import('../../../ops/trust/sign.ts');
  const { fulcio, rekor } = publicInstance;
  if (key === undefined)
    return keylessSigner({ fulcio: fulcioUrl ?? fulcio, rekor: rekorUrl ?? rekor }, processEnvironment(), signal);
  if (fulcioUrl !== undefined || rekorUrl !== undefined)
    throw new KinaError('usage', '--fulcio-url and --rekor-url are about keyless signatures, and a key was given');
  const { readPrivateKey } = await import('../../../ops/trust/keys.ts');
  return keySigner(await readPrivateKey(key, processEnvironment().KINA_SIGN_PASSPHRASE));
}
