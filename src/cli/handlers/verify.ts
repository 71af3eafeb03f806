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
  if (flags.recipe !== undefined && !flags.rebuild)
    throw new KinaError('usage', '--recipe says what to build: it needs --rebuild');
  const trust = await trustOf(flags);
  const lock = flags.lock === undefined ? undefined : await readLock(flags.lock);
  const verdict = await withProgress(flags, async (reporter, signal) => {
    const tools = await sessionFor(flags, reporter, signal);
    return verify(ref, { rebuild: flags.rebuild, lock, recipe: flags.recipe, trust }, tools);
  });
  const wrong = complaint(verdict, flags.requireSignature);
  if (flags.json) {
    if (wrong) process.exitCode = 1;
    return answerJson({ ...verdict, verified: wrong === undefined });
  }
  if (wrong) throw wrong;
  answer(text(verdict));
}

/** Whose signature counts, by the flags. Throws `usage`. */
async function trustOf({ key, identity, issuer, trustedRoot }: VerifyFlags): Promise<Trust | undefined> {
  const usage = (problem: string, hint: string) => new KinaError('usage', problem, { hint });
  if (key !== undefined && (identity !== undefined || issuer !== undefined))
    throw usage('--key excludes --identity and --issuer', 'An image is signed with a key or by an identity: name one.');
  if ((identity === undefined) !== (issuer === undefined))
    throw usage(
      '--identity and --issuer belong together',
      'A name says nothing without who vouches for it. The certificate has both: `cosign verify` prints them.',
    );
  if (key === undefined && identity === undefined) {
    if (trustedRoot === undefined) return undefined;
    throw usage('--trusted-root says nothing about who has to have signed', 'Add --identity and --issuer, or --key.');
  }
  const root = trustedRoot === undefined ? undefined : await readTrustedRoot(trustedRoot);
  if (key !== undefined) return { key: await (await import('../../ops/trust/keys.ts')).readPublicKey(key), root };
  if (!root || identity === undefined || issuer === undefined)
    throw usage(
      '--identity needs --trusted-root',
      '`cosign trusted-root create --with-default-services > trusted_root.json` writes that of the public instance.',
    );
  return { identity, issuer, root };
}

/** Why the image is not to be used; undefined when nothing speaks against it. */
function complaint(
  { ref, from, damage, problems, signature, rebuilt }: Verdict,
  signed: boolean,
): KinaError | undefined {
  if (damage.length)
    return new KinaError('integrity', `${ref} is damaged`, {
      details: damage.map(({ what, digest, problem }) => `${what} (${digest.slice(0, 19)}): ${problem}`),
    });
  if (problems.length)
    return new KinaError('integrity', `${ref} and what is said about it disagree`, { details: problems });
  if (rebuilt?.result === 'different')
    return new KinaError('integrity', `${ref} is not what its lock makes: that is ${rebuilt.digest}`, {
      details: rebuilt.differences,
      hint: 'What was made is in the store until `kina cache prune`.',
    });
  if (!signed || signature === 'verified') return undefined;
  if (signature === 'none')
    return new KinaError('integrity', `${ref} is not signed`, {
      ...(from === 'store' ? { hint: `Signatures stand beside images in registries: verify docker://REF.` } : {}),
    });
  return new KinaError('integrity', `${ref} has a signature that was not verified: it counts as not signed`, {
    hint: 'Say whose signature counts: --key, or --identity and --issuer. One in the form of cosign before 3 is not read.',
  });
}

function text(verdict: Verdict): string {
  const { ref, digest, blobs, bytes: size, provenance, lock, sboms, rebuilt } = verdict;
  const where = { recorded: 'recorded in the store', attached: 'beside the image', given: 'given' };
  const made = { same: 'the same digest', compression: 'the same content, compressed differently', different: '' };
  const said = provenance && [
    `agrees: kina ${provenance.kina ?? '-'}, ${provenance.materials} materials`,
    ...(provenance.signed ? ['signed with the image'] : []),
  ];
  return [
    `${ref.replace(/^docker:\/\//, '').replace(/@.*$/, '')}@${digest}`,
    `digests     sound: ${blobs} blobs, ${bytes(size)} hashed`,
    `provenance  ${said?.join('; ') ?? 'none'}`,
    `lock        ${lock ? `agrees: ${where[lock]}` : 'none'}`,
    ...(sboms ? [`SBOM        agrees: ${sboms} beside the image`] : []),
    `signature   ${signatureText(verdict)}`,
    ...(rebuilt ? [`rebuild     ${made[rebuilt.result]}`] : []),
  ].join('\n');
}

function signatureText({ signature, signers }: Verdict): string {
  if (signature === 'verified') return `verified: by ${signers.join(', and by ')}`;
  return signature === 'none'
    ? 'none: the image is unsigned'
    : 'there is one, not verified: say whose counts with --key or --identity';
}
