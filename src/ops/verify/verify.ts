/**
 * `kina verify`: what can be found out about an image without believing anybody. The chain of digests from the name to every
 * file; the documents beside it, compared with it; with `rebuild`, the image made again from its lock.
 *
 * Documents of an image in the store are what this store remembers of the build; of one in a registry, its referrers.
 */
import type { Lock } from '../../build/lock.ts';
import { parseLock } from '../../build/lock-file.ts';
import { KinaError } from '../../host/errors.ts';
import { type Damage, verifyImage } from '../../layers/image/verify.ts';
import type { Digest } from '../../oci/descriptor.ts';
import { type ImageContents, readContents } from '../../oci/image/contents.ts';
import type { ImageReference } from '../../oci/reference.ts';
import type { Session } from '../../session/session.ts';
import { lockType, provenanceType, sbomType } from '../trust/attach.ts';
import type { Trust } from '../trust/check-signature.ts';
import { joinOrigins, originsOf } from '../trust/origin.ts';
import { type Beside, hasCosignTag, readSurroundings } from './beside.ts';
import { obtain } from './obtain.ts';
import { type Rebuilt, rebuild } from './rebuild.ts';
import { judge, type Signatures } from './signatures.ts';
import { lockProblems, parseStatement, type Statement, sbomProblems, statementProblems } from './statement.ts';

export interface Verdict {
  readonly ref: string;
  readonly digest: Digest;
  readonly from: 'store' | 'registry';
  /** Blobs and bytes hashed. */
  readonly blobs: number;
  readonly bytes: number;
  readonly damage: readonly Damage[];
  /** Undefined when there is none. `signed`: a verified signature covers it too. */
  readonly provenance:
    | { readonly kina: string | undefined; readonly materials: number; readonly signed: boolean }
    | undefined;
  /** SBOMs beside the image that are about its platforms. */
  readonly sboms: number;
  /** Where the lock was found: `recorded` in the store, `attached` in the registry, `given`. */
  readonly lock: 'recorded' | 'attached' | 'given' | undefined;
  readonly signature: Signatures['state'];
  /** Who signed, of signatures that verify. */
  readonly signers: readonly string[];
  /** What documents and image disagree about. */
  readonly problems: readonly string[];
  readonly rebuilt: Rebuilt | undefined;
}
export interface VerifyOptions {
  readonly rebuild: boolean;
  /** Instead of the recorded or attached one. */
  readonly lock: Lock | undefined;
  /** Name or file, when the lock's recipe is not one that kina has. */
  readonly recipe: string | undefined;
  /** Whose signature counts; undefined: none does. */
  readonly trust: Trust | undefined;
}

interface Documents {
  /** With the digests of the manifests that brought them. */
  readonly statements: readonly { readonly statement: Statement; readonly digest: Digest }[];
  readonly lock: Lock | undefined;
  readonly sboms: readonly Beside[];
  readonly signatures: Signatures;
  readonly damage: readonly Damage[];
}

/** Throws `integrity` for a broken chain in a registry, `not-found`, `network`; `lock` when a rebuild has no lock. */
export async function verify(ref: string, options: VerifyOptions, tools: Session): Promise<Verdict> {
  const { descriptor, origin } = await obtain(ref, tools);
  const task = tools.reporter.task('read', ref);
  const { blobs, bytes, damage } = await verifyImage(tools.store, descriptor, { signal: tools.signal, task });
  task.done(undefined, true);
  const nothing = {
    provenance: undefined,
    lock: undefined,
    sboms: 0,
    signature: 'none' as const,
    signers: [],
    problems: [],
    rebuilt: undefined,
  };
  const base = {
    ref,
    digest: descriptor.digest,
    from: origin ? ('registry' as const) : ('store' as const),
    blobs,
    bytes,
  };
  if (damage.length > 0) return { ...base, ...nothing, damage };
  const image = await readContents(tools.store, descriptor);
  const found = origin ? await inRegistry(origin, image, options.trust, tools) : await inStore(image, tools);
  if (found.damage.length > 0) return { ...base, ...nothing, damage: found.damage };
  const lock = options.lock ?? found.lock;
  const { signatures } = found;
  const [first] = found.statements;
  const problems = [
    ...found.statements.flatMap(({ statement }) => statementProblems(statement, image)),
    ...found.sboms.flatMap(({ what, subject, bytes: document }) => sbomProblems(what, document, subject)),
    // One that was given may be of other platforms too; the attached one is the whole of what the statement says.
    ...(lock ? lockProblems(lock, image, options.lock ? undefined : first?.statement) : []),
    ...signatures.problems,
  ];
  return {
    ...base,
    damage,
    provenance: first && {
      kina: first.statement.predicate.runDetails.builder.version?.kina,
      materials: first.statement.predicate.buildDefinition.resolvedDependencies.length,
      signed: signatures.covers.has(first.digest),
    },
    lock: options.lock ? 'given' : found.lock ? (origin ? 'attached' : 'recorded') : undefined,
    sboms: found.sboms.length,
    signature: signatures.state,
    signers: signatures.by,
    problems,
    rebuilt: options.rebuild && problems.length === 0 ? await again(image, lock, options.recipe, tools) : undefined,
  };
}

async function again(image: ImageContents, lock: Lock | undefined, recipe: string | undefined, tools: Session) {
  if (lock) return rebuild(image, lock, recipe ?? lock.recipe, tools);
  throw new KinaError('lock', 'the lock that the image was built from is neither beside it nor in the store', {
    hint: 'Name it with --lock FILE. Images pushed with --provenance have theirs beside them.',
  });
}

async function inStore(image: ImageContents, { store }: Session): Promise<Documents> {
  const origins = await originsOf(store, image);
  const lock = origins && joinOrigins(origins);
  return {
    statements: [],
    lock,
    signatures: judge([], image.descriptor.digest, undefined, false),
    sboms: [],
    damage: [],
  };
}

async function inRegistry(
  origin: ImageReference,
  image: ImageContents,
  trust: Trust | undefined,
  tools: Session,
): Promise<Documents> {
  const { digest } = image.descriptor;
  const { documents, damage } = await readSurroundings(origin, image, tools);
  const ofImage = (type: string) => documents.filter((one) => one.type === type && one.subject === digest);
  const statements = ofImage(provenanceType).flatMap((one) => {
    const statement = parseStatement(one.bytes);
    return statement ? [{ statement, digest: one.digest }] : [];
  });
  const [lock] = ofImage(lockType);
  return {
    statements,
    lock: lock && parseLock(lock.bytes.toString('utf8'), 'the lock beside the image'),
    sboms: documents.filter(({ type }) => type === sbomType),
    signatures: judge(documents, digest, trust, await hasCosignTag(origin, digest, tools)),
    damage,
  };
}
