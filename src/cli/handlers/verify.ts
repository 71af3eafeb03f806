import { readLock } from '../../build/lock-file.ts';
import { KinaError } from '../../host/errors.ts';
import type { Trust } from '../../ops/trust/check-signature.ts';
import { readTrustedRoot } from '../../ops/trust/check-signature.ts';
import type { Verdict } from '../../ops/verify/verify.ts';
import { verify } from '../../ops/verify/verify.ts';
import type { MirrorFlags } from '../flags.ts';
import { answer, answerJson, type GlobalFlags, withProgress } from '../terminal/context.ts';
import { bytes } from '../terminal/format.ts';
import { sessionFor } from './shared/session.ts';

interface VerifyFlags extends MirrorFlags, GlobalFlags {
  rebuild: boolean;
  lock?: string;
  recipe?: string;
  requireSignature: boolean;
  key?: string;
  identity?: string;
  issuer?: string;
  trustedRoot?: string;
  insecureRegistry: string[];
  json: boolean;
}

export async function run(flags: VerifyFlags, ref: string): Promise<void> {
  if (flags.recipe !== undefined && !flags.rebuild) throw new KinaError('usage', '--recipe requires --rebuild');
  const trust = await trustOf(flags);
  const lock = flags.lock === undefined ? undefined : await readLock(flags.lock);
  const verdict = await withProgress(flags, async (reporter, signal) => {
    const tools = await sessionFor(flags, reporter, signal);
    return verify({ ...tools, image: ref, rebuild: flags.rebuild, lock, recipe: flags.recipe, trust });
  });
  const wrong = complaint(verdict, flags.requireSignature);
  if (flags.json) {
    if (wrong) process.exitCode = 1;
    return answerJson({ ...verdict, verified: wrong === undefined });
  }
  if (wrong) throw wrong;
  answer(text(verdict));
}

/** The key or identity to verify signatures with. Throws `usage`. */
async function trustOf({ key, identity, issuer, trustedRoot }: VerifyFlags): Promise<Trust | undefined> {
  const usage = (problem: string, hint: string) => new KinaError('usage', problem, { hint });
  if (key !== undefined && (identity !== undefined || issuer !== undefined))
    throw usage('--key cannot be used with --identity and --issuer', 'Verify with a key or with an identity.');
  if ((identity === undefined) !== (issuer === undefined))
    throw usage(
      '--identity and --issuer must be used together',
      'Both are in the certificate; `cosign verify` prints them.',
    );
  if (key === undefined && identity === undefined) {
    if (trustedRoot === undefined) return undefined;
    throw usage('--trusted-root requires --identity and --issuer, or --key', 'It does not say which signer to expect.');
  }
  const root = trustedRoot === undefined ? undefined : await readTrustedRoot(trustedRoot);
  if (key !== undefined) return { key: await (await import('../../ops/trust/keys.ts')).readPublicKey(key), root };
  if (!root || identity === undefined || issuer === undefined)
    throw usage(
      '--identity requires --trusted-root',
      '`cosign trusted-root create --with-default-services > trusted_root.json` writes the root of the public instance.',
    );
  return { identity, issuer, root };
}

/** Why the verification failed; undefined if it passed. */
function complaint(
  { ref, from, damage, problems, signature, rebuilt }: Verdict,
  signed: boolean,
): KinaError | undefined {
  if (damage.length)
    return new KinaError('integrity', `${ref} is damaged`, {
      details: damage.map(({ what, digest, problem }) => `${what} (${digest.slice(0, 19)}): ${problem}`),
    });
  if (problems.length) return new KinaError('integrity', `the attestations do not match ${ref}`, { details: problems });
  if (rebuilt?.result === 'different')
    return new KinaError('integrity', `${ref} does not match its lock: the rebuild has digest ${rebuilt.digest}`, {
      details: rebuilt.differences,
      hint: 'The rebuilt image is in the store until `kina cache prune`.',
    });
  if (!signed || signature === 'verified') return undefined;
  if (signature === 'none')
    return new KinaError('integrity', `${ref} is not signed`, {
      ...(from === 'store' ? { hint: 'Signatures are attached to images in registries: verify docker://REF.' } : {}),
    });
  return new KinaError('integrity', `${ref} has a signature, but no key or identity to verify it with was given`, {
    hint: 'Use --key, or --identity and --issuer. Signatures in the format of cosign 2 and earlier are not supported.',
  });
}

function text(verdict: Verdict): string {
  const { ref, digest, blobs, bytes: size, provenance, lock, sboms, rebuilt } = verdict;
  const where = { recorded: 'recorded in the store', attached: 'attached to the image', given: 'given' };
  const made = { same: 'the same digest', compression: 'the same content, compressed differently', different: '' };
  const said = provenance && [
    `matches: kina ${provenance.kina ?? '-'}, ${provenance.materials} materials`,
    ...(provenance.signed ? ['signed with the image'] : []),
  ];
  return [
    `${ref.replace(/^docker:\/\//, '').replace(/@.*$/, '')}@${digest}`,
    `digests     verified: ${blobs} blobs, ${bytes(size)}`,
    `provenance  ${said?.join('; ') ?? 'none'}`,
    `lock        ${lock ? `matches: ${where[lock]}` : 'none'}`,
    ...(sboms ? [`SBOM        matches: ${sboms} attached to the image`] : []),
    `signature   ${signatureText(verdict)}`,
    ...(rebuilt ? [`rebuild     ${made[rebuilt.result]}`] : []),
  ].join('\n');
}

function signatureText({ signature, signers }: Verdict): string {
  if (signature === 'verified') return `verified: ${signers.join(', ')}`;
  return signature === 'none' ? 'none' : 'present, not verified: use --key or --identity';
}
