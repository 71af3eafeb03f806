/** `kina verify`: an image, what stands beside it, and whether it can be made again. */
import { Command } from 'commander';
import { KinaError } from '../host/errors.ts';
import type { Verdict } from '../ops/verify/verify.ts';
import { answer, answerJson, type GlobalFlags, version, withProgress } from './context.ts';
import { bytes } from './format.ts';
import { addMirrorOptions, insecureOption, type MirrorFlags } from './shared.ts';

interface VerifyFlags extends MirrorFlags, GlobalFlags {
  rebuild: boolean;
  lock?: string;
  recipe?: string;
  requireSignature: boolean;
  insecureRegistry: string[];
  json: boolean;
}

export function verifyCommand(): Command {
  return addMirrorOptions(
    new Command('verify')
      .description(
        'check an image of the store or of a registry: every digest, the provenance beside it, and, when asked, that its lock makes it again',
      )
      .argument('<ref>', 'name of the image, in the store or else in a registry; docker://REF is in a registry')
      .option('--rebuild', 'build it again from its lock and compare', false)
      .option('--lock <file>', 'its lock (default: the one beside it, or of its build in the store)')
      .option('--recipe <name|file>', "its recipe, when it is none of kina's (default: the one that the lock names)")
      .option('--require-signature', 'refuse an image without a verified signature; kina verifies none yet', false),
  )
    .addOption(insecureOption())
    .option('--json', 'answer as JSON', false)
    .addHelpText(
      'after',
      `
Examples:
  kina verify localhost/kina/node:v1.34.2
  kina verify docker://ghcr.io/example/node:v1.34.2 --rebuild
  kina verify docker://ghcr.io/example/node:v1.34.2 --rebuild --lock kina.lock`,
    )
    .action(async (ref: string, _own: unknown, command: Command) => run(ref, command.optsWithGlobals<VerifyFlags>()));
}

async function run(ref: string, flags: VerifyFlags): Promise<void> {
  if (flags.recipe !== undefined && !flags.rebuild)
    throw new KinaError('usage', '--recipe says what to build: it needs --rebuild');
  const { readLock } = await import('../build/lock.ts');
  const { openToolbox } = await import('../layers/toolbox.ts');
  const { verify } = await import('../ops/verify/verify.ts');
  const lock = flags.lock === undefined ? undefined : await readLock(flags.lock);
  const verdict = await withProgress(flags, async (reporter, signal) => {
    const tools = await openToolbox({
      ...{ reporter, signal, version },
      ...{ mirrors: flags.mirror, offline: flags.offline, insecureRegistries: flags.insecureRegistry },
      ...{ debianMirror: flags.debianMirror, debianSecurityMirror: flags.debianSecurityMirror },
    });
    return verify(ref, { rebuild: flags.rebuild, lock, recipe: flags.recipe }, tools);
  });
  const wrong = complaint(verdict, flags.requireSignature);
  if (flags.json) {
    if (wrong) process.exitCode = 1;
    return answerJson({ ...verdict, verified: wrong === undefined });
  }
  if (wrong) throw wrong;
  answer(text(verdict));
}

/** Why the image is not to be used; undefined when nothing speaks against it. */
function complaint({ ref, damage, problems, signature, rebuilt }: Verdict, signed: boolean): KinaError | undefined {
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
  if (signed)
    return new KinaError(
      'integrity',
      signature === 'none'
        ? `${ref} is not signed`
        : `${ref} has a signature, and kina cannot verify signatures: it counts as not signed`,
    );
  return undefined;
}

function text(verdict: Verdict): string {
  const { ref, digest, blobs, bytes: size, provenance, lock, signature, rebuilt } = verdict;
  const where = { recorded: 'recorded in the store', attached: 'beside the image', given: 'given' };
  const made = { same: 'the same digest', compression: 'the same content, compressed differently', different: '' };
  return [
    `${ref.replace(/^docker:\/\//, '').replace(/@.*$/, '')}@${digest}`,
    `digests     sound: ${blobs} blobs, ${bytes(size)} hashed`,
    `provenance  ${provenance ? `agrees: kina ${provenance.kina ?? '-'}, ${provenance.materials} materials` : 'none'}`,
    `lock        ${lock ? `agrees: ${where[lock]}` : 'none'}`,
    `signature   ${signature === 'none' ? 'none: the image is unsigned' : 'there is one, which kina cannot verify'}`,
    ...(rebuilt ? [`rebuild     ${made[rebuilt.result]}`] : []),
  ].join('\n');
}
