/**
 * Signs images: with a key, without any server, or keyless, for pipelines. Keyless means that the pipeline's identity token
 * is exchanged at Fulcio for the certificate of a key that is used for one signature, and that the transparency log Rekor
 * proves the time. Both can be any instance of Sigstore.
 *
 * The token grants the pipeline's identity while it is valid. It is requested at the moment of signing and sent only to
 * Fulcio, and it is masked in all messages of the library and the servers.
 */

import { type KeyObject, sign as signBytes } from 'node:crypto';
import type { Bundle } from '@sigstore/bundle';
import { CIContextProvider, DSSEBundleBuilder, FulcioSigner, InternalError, RekorWitness } from '@sigstore/sign';
import type { Environment } from '../../host/environment.ts';
import { KinaError } from '../../host/errors.ts';
import { isLoopback } from '../../host/http-route.ts';
import type { Digest } from '../../oci/descriptor.ts';
import { signatureStatement, statementType } from './bundle.ts';
import { keyHint, publicHalf } from './keys.ts';

export interface ImageSigner {
  /** Signs the image and the given manifests of attached documents in one signature. */
  sign(image: Digest, documents: readonly Digest[]): Promise<Bundle>;
  /** The public key; undefined for keyless signing. */
  readonly publicKey: KeyObject | undefined;
}

/** Services of a Sigstore instance, by their base URLs. */
export interface Instance {
  readonly fulcio: string;
  readonly rekor: string;
}

/** Timeout in milliseconds and number of retries of a service. */
const patience = { timeout: 20_000, retry: { retries: 2 } };

export function keySigner(key: KeyObject): ImageSigner {
  const signer = {
    async sign(data: Buffer) {
      // No digest algorithm: Node uses SHA-256 for P-256 and RSA, and Ed25519 has its own.
      const pem = publicHalf(key).export({ format: 'pem', type: 'spki' }).toString();
      return {
        signature: signBytes(undefined, data, key),
        key: { $case: 'publicKey' as const, publicKey: pem, hint: keyHint(key) },
      };
    },
  };
  return {
    publicKey: publicHalf(key),
    async sign(image, documents) {
      const data = signatureStatement(image, documents);
      const bundle = await new DSSEBundleBuilder({ signer, witnesses: [] }).create({ data, type: statementType });
      // The library uses the hint as the envelope's key id, and cosign (3.1) skips signatures whose id is not its own hint
      // of the key. The DSSE specification defines the id as an optional, unsigned hint.
      for (const signature of bundle.content.dsseEnvelope.signatures) signature.keyid = '';
      return bundle;
    },
  };
}

/** Throws `usage` if there is no token, or if a service would receive it over plain HTTP. */
export function keylessSigner(
  { fulcio, rekor }: Instance,
  environment: Environment,
  signal?: AbortSignal,
): ImageSigner {
  const { SIGSTORE_ID_TOKEN, ACTIONS_ID_TOKEN_REQUEST_URL, ACTIONS_ID_TOKEN_REQUEST_TOKEN } = environment;
  if (!SIGSTORE_ID_TOKEN && !(ACTIONS_ID_TOKEN_REQUEST_URL && ACTIONS_ID_TOKEN_REQUEST_TOKEN))
    throw new KinaError('usage', 'no identity for signing', {
      hint: 'In GitHub Actions, set `permissions: id-token: write` for the job. Elsewhere, set SIGSTORE_ID_TOKEN to an OIDC token for the audience sigstore, or sign with a key.',
    });
  for (const [flag, url] of Object.entries({ '--fulcio-url': fulcio, '--rekor-url': rekor })) checkService(flag, url);
  return {
    publicKey: undefined,
    async sign(image, documents) {
      const token = await identityToken();
      const identityProvider = { getToken: async () => token };
      const builder = new DSSEBundleBuilder({
        signer: new FulcioSigner({ fulcioBaseURL: fulcio, identityProvider, ...patience }),
        witnesses: [new RekorWitness({ rekorBaseURL: rekor, ...patience })],
      });
      const made = builder.create({ data: signatureStatement(image, documents), type: statementType });
      try {
        return await (signal ? Promise.race([made, cancelled(signal)]) : made);
      } catch (error) {
        if (error instanceof KinaError) throw error;
        throw explain(error, token, { fulcio, rekor });
      }
    },
  };
}

async function identityToken(): Promise<string> {
  const token = await new CIContextProvider('sigstore').getToken().catch(() => undefined);
  if (!token)
    throw new KinaError('network', "cannot get the pipeline's identity token", {
      hint: 'The job may lack `permissions: id-token: write`, or the token server failed. Try again.',
    });
  const [, claims = ''] = token.split('.');
  try {
    JSON.parse(Buffer.from(claims, 'base64url').toString('utf8'));
    return token;
  } catch {
    throw new KinaError('usage', 'the identity token is not a JSON web token', {
      hint: 'SIGSTORE_ID_TOKEN must contain the token itself: three parts separated by dots.',
    });
  }
}

const steps: Readonly<Record<string, keyof Instance>> = {
  CA_CREATE_SIGNING_CERTIFICATE_ERROR: 'fulcio',
  TLOG_CREATE_ENTRY_ERROR: 'rekor',
  TLOG_FETCH_ENTRY_ERROR: 'rekor',
};

/** Without a cause: the library's own errors can contain the token. */
function explain(error: unknown, token: string, instance: Instance): KinaError {
  const service = error instanceof InternalError ? steps[error.code] : undefined;
  const reasons = [error, error instanceof Error ? error.cause : undefined].flatMap((one) =>
    one instanceof Error ? [withoutToken(one.message, token)] : [],
  );
  return new KinaError(
    'network',
    `the image was not signed${service ? `: ${instance[service]} refused or failed` : ''}`,
    {
      details: [...new Set(reasons)],
      hint:
        service === 'fulcio'
          ? 'The token may have expired, or this instance may not accept its issuer or audience.'
          : 'Try again: the image was pushed, only the signature is missing.',
    },
  );
}

function withoutToken(text: string, token: string): string {
  return [token, ...token.split('.')].reduce((all, part) => (part === '' ? all : all.replaceAll(part, '***')), text);
}

function checkService(flag: string, url: string): void {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed?.protocol === 'https:' || (parsed?.protocol === 'http:' && isLoopback(parsed.hostname))) return;
  throw new KinaError('usage', `${flag} ${url}: expected an https URL`);
}

function cancelled(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
