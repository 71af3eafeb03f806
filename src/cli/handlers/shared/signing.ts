/** The signer of the commands that sign: keyless, as in CI, or with a key. */
import { processEnvironment } from '../../../host/environment.ts';
import { KinaError } from '../../../host/errors.ts';
import type { ImageSigner } from '../../../ops/trust/sign.ts';
import { type InstanceFlags, publicInstance, type SigningFlags } from '../../flags.ts';

/** Undefined without `--sign` and `--sign-key`. Throws `usage`. */
export async function signerFor(flags: SigningFlags, signal?: AbortSignal): Promise<ImageSigner | undefined> {
  const { sign, signKey, fulcioUrl, rekorUrl } = flags;
  if (sign && signKey !== undefined)
    throw new KinaError('usage', '--sign and --sign-key cannot be used together', {
      hint: '--sign uses the identity of the CI job, --sign-key FILE uses a key.',
    });
  if (!sign && (fulcioUrl !== undefined || rekorUrl !== undefined))
    throw new KinaError('usage', '--fulcio-url and --rekor-url require --sign');
  return sign || signKey !== undefined ? signer(signKey, flags, signal) : undefined;
}

/** Signs with the key in this file, or keyless without one. Throws `usage`. */
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
    throw new KinaError(
      'usage',
      '--fulcio-url and --rekor-url are for keyless signatures and cannot be used with --key',
    );
  const { readPrivateKey } = await import('../../../ops/trust/keys.ts');
  return keySigner(await readPrivateKey(key, processEnvironment().KINA_SIGN_PASSPHRASE));
}
