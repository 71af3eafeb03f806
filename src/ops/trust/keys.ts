/** Keys that sign and verify, from PEM files: ECDSA on P-256, Ed25519 and RSA, as cosign and openssl write them. */
import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { KinaError } from '../../host/errors.ts';

/** PKCS#8, SEC1 or PKCS#1, perhaps encrypted. Throws `usage`, and never says anything of the passphrase. */
export async function readPrivateKey(file: string, passphrase: string | undefined): Promise<KeyObject> {
  const pem = await readPem(file);
  if (pem.includes('ENCRYPTED SIGSTORE') || pem.includes('ENCRYPTED COSIGN'))
    throw new KinaError('usage', `${file} is encrypted in cosign's own way, which kina does not read`, {
      hint: 'Make a key with openssl: `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -out key.pem`.',
    });
  try {
    return usable(createPrivateKey({ key: pem, ...(passphrase === undefined ? {} : { passphrase }) }), file);
  } catch (error) {
    if (error instanceof KinaError) throw error;
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (pem.includes('ENCRYPTED') || /PASSPHRASE|DECRYPT/.test(code))
      throw new KinaError(
        'usage',
        passphrase === undefined
          ? `${file} is encrypted, and no passphrase was given`
          : `${file} cannot be decrypted with the passphrase in KINA_SIGN_PASSPHRASE`,
        { hint: 'Set KINA_SIGN_PASSPHRASE to its passphrase.' },
      );
    throw new KinaError('usage', `${file} holds no private key`, {
      hint: 'Expected a PEM file: `-----BEGIN PRIVATE KEY-----`.',
      cause: error,
    });
  }
}

/** SPKI, or a certificate's key. Throws `usage`; also for a private key, which belongs on no machine that verifies. */
export async function readPublicKey(file: string): Promise<KeyObject> {
  const pem = await readPem(file);
  if (pem.includes('PRIVATE KEY'))
    throw new KinaError('usage', `${file} is a private key`, {
      hint: `Verifying takes the public one: \`openssl pkey -in ${file} -pubout -out key.pub\`.`,
    });
  try {
    return usable(createPublicKey(pem), file);
  } catch (error) {
    if (error instanceof KinaError) throw error;
    throw new KinaError('usage', `${file} holds no public key`, {
      hint: 'Expected a PEM file: `-----BEGIN PUBLIC KEY-----`.',
      cause: error,
    });
  }
}

/** What cosign calls the hint of a key: SHA-256 of its SPKI form, in base64. Of a private key, that of its public half. */
export function keyHint(key: KeyObject): string {
  return createHash('sha256')
    .update(publicHalf(key).export({ format: 'der', type: 'spki' }))
    .digest('base64');
}

export function publicHalf(key: KeyObject): KeyObject {
  return key.type === 'private' ? createPublicKey(key) : key;
}

async function readPem(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new KinaError('usage', `cannot read the key ${file}: ${(error as Error).message}`, { cause: error });
  }
}

/** Other curves want other hashes than SHA-256, which DSSE does not name: one that is not said is not guessed. */
function usable(key: KeyObject, file: string): KeyObject {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === 'ed25519' || (type === 'ec' && details?.namedCurve === 'prime256v1')) return key;
  if (type === 'rsa' && (details?.modulusLength ?? 0) >= 2048) return key;
  const kind = [type, details?.namedCurve, details?.modulusLength].filter((one) => one !== undefined).join(' ');
  throw new KinaError('usage', `${file} is a key of a kind that kina does not use: ${kind}`, {
    hint: 'Use ECDSA on P-256, Ed25519, or RSA of 2048 bits or more.',
  });
}
