/**
 * `kina verify`: verifies an image without trusting the registry. It checks the chain of digests from the name to every
 * file, the attached documents, and, with `rebuild`, an image built again from the lock.
 *
 * For an image in the store, the documents are the store's records of the build; for one in a registry, its referrers.
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
  /** Number of blobs and bytes hashed. */
  readonly blobs: number;
  readonly bytes: number;
  readonly damage: readonly Damage[];
  /** Undefined if there is none. `signed`: covered by a verified signature. */
  readonly provenance:
    | { readonly kina: string | undefined; readonly materials: number; readonly signed: boolean }
    | undefined;
  /** Attached SBOMs that match their platforms. */
  readonly sboms: number;
  /** The source of the lock: `recorded` in the store, `attached` in the registry, or `given`. */
  readonly lock: 'recorded' | 'attached' | 'given' | undefined;
  readonly signature: Signatures['state'];
  /** Signers of verified signatures. */
  readonly signers: readonly string[];
  /** Mismatches between documents and image. */
  readonly problems: readonly string[];
  readonly rebuilt: Rebuilt | undefined;
}
export interface VerifyOptions extends Session {
  /** Name in the store, or `docker://REF`. */
  readonly image: string;
  /** Build the image again from its lock and compare. */
  readonly rebuild?: boolean | undefined;
  /** Overrides the recorded or attached lock. */
  readonly lock?: Lock | undefined;
  /** Name or file, if the lock's recipe is not built-in. */
  readonly recipe?: string | undefined;
  /** The trusted key or identity; if undefined, signatures are not checked. */
  readonly trust?: Trust | undefined;
}

interface Documents {
  /** With the digests of the manifests that refer to them. */
  readonly statements: readonly { readonly statement: Statement; readonly digest: Digest }[];
  readonly lock: Lock | undefined;
  readonly sboms: readonly Beside[];
  readonly signatures: Signatures;
  readonly damage: readonly Damage[];
}

/** Throws `integrity` for a broken chain in a registry, `not-found`, `network`; `lock` if a rebuild has no lock. */
export async function verify(options: VerifyOptions): Promise<Verdict> {
  const { image: ref, ...tools } = options;
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
    // A given lock may contain other platforms, too; the attached one must match the statement completely.
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
  throw new KinaError('lock', 'the lock of the image is neither attached to it nor in the store', {
    hint: 'Set --lock FILE. Images that were pushed with --provenance have it attached.',
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
    lock: lock && parseLock(lock.bytes.toString('utf8'), 'the attached lock'),
    sboms: documents.filter(({ type }) => type === sbomType),
    signatures: judge(documents, digest, trust, await hasCosignTag(origin, digest, tools)),
    damage,
  };
}
