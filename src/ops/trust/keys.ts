/** Keys for signing and verifying, from PEM files: ECDSA on P-256, Ed25519 and RSA, as written by cosign and openssl. */
import { createHash, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { KinaError } from '../../host/errors.ts';

/** PKCS#8, SEC1 or PKCS#1, optionally encrypted. Throws `usage`; errors never contain the passphrase. */
export async function readPrivateKey(file: string, passphrase: string | undefined): Promise<KeyObject> {
  const pem = await readPem(file);
  if (pem.includes('ENCRYPTED SIGSTORE') || pem.includes('ENCRYPTED COSIGN'))
    throw new KinaError('usage', `${file} is encrypted in cosign's own format, which kina does not support`, {
      hint: 'Create a key with openssl: `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -out key.pem`.',
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
          ? `${file} is encrypted, but there is no passphrase`
          : `${file} cannot be decrypted with the passphrase in KINA_SIGN_PASSPHRASE`,
        { hint: 'Set KINA_SIGN_PASSPHRASE to the passphrase of the key.' },
      );
    throw new KinaError('usage', `${file} does not contain a private key`, {
      hint: 'Expected a PEM file: `-----BEGIN PRIVATE KEY-----`.',
      cause: error,
    });
  }
}

/** SPKI, or the key of a certificate. Throws `usage`, also for a private key, which should not be on a verifying machine. */
export async function readPublicKey(file: string): Promise<KeyObject> {
  const pem = await readPem(file);
  if (pem.includes('PRIVATE KEY'))
    throw new KinaError('usage', `${file} is a private key`, {
      hint: `To verify, use the public key: \`openssl pkey -in ${file} -pubout -out key.pub\`.`,
    });
  try {
    return usable(createPublicKey(pem), file);
  } catch (error) {
    if (error instanceof KinaError) throw error;
    throw new KinaError('usage', `${file} does not contain a public key`, {
      hint: 'Expected a PEM file: `-----BEGIN PUBLIC KEY-----`.',
      cause: error,
    });
  }
}

/** cosign's hint of a key: SHA-256 of its SPKI encoding, in base64. For a private key, the hint of its public key. */
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

/** Other curves need hashes other than SHA-256, and DSSE does not name the hash, so they are refused. */
function usable(key: KeyObject, file: string): KeyObject {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  if (type === 'ed25519' || (type === 'ec' && details?.namedCurve === 'prime256v1')) return key;
  if (type === 'rsa' && (details?.modulusLength ?? 0) >= 2048) return key;
  const kind = [type, details?.namedCurve, details?.modulusLength].filter((one) => one !== undefined).join(' ');
  throw new KinaError('usage', `${file} has an unsupported type of key: ${kind}`, {
    hint: 'Use ECDSA on P-256, Ed25519, or RSA with 2048 bits or more.',
  });
}
