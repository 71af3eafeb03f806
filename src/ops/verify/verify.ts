/**
 * `kina verify`: what can be found out about an image without believing anybody. The chain of digests from the name to every
 * file; the documents beside it, compared with it; with `rebuild`, the image made again from its lock.
 *
 * Documents of an image in the store are what this store remembers of the build; of one in a registry, its referrers.
 */
import { type Lock, lockFrom, parseLock } from '../../build/lock.ts';
import { KinaError } from '../../host/errors.ts';
import { type Damage, verifyImage } from '../../layers/image/verify.ts';
import type { Toolbox } from '../../layers/toolbox.ts';
import { type ImageContents, readContents } from '../../oci/contents.ts';
import { type Descriptor, type Digest, hexOf } from '../../oci/descriptor.ts';
import { readAttachment, referrersOf } from '../../oci/referrers.ts';
import { resolveReference } from '../../oci/registry.ts';
import { formatReference, type ImageReference } from '../../oci/registry-reference.ts';
import { lockType, provenanceType } from '../trust/attach.ts';
import { joinOrigins, originsOf } from '../trust/origin.ts';
import { obtain } from './obtain.ts';
import { type Rebuilt, rebuild } from './rebuild.ts';
import { lockProblems, parseStatement, type Statement, statementProblems } from './statement.ts';

export interface Verdict {
  readonly ref: string;
  readonly digest: Digest;
  readonly from: 'store' | 'registry';
  /** Blobs and bytes hashed. */
  readonly blobs: number;
  readonly bytes: number;
  readonly damage: readonly Damage[];
  /** Undefined when there is none. */
  readonly provenance: { readonly kina: string | undefined; readonly materials: number } | undefined;
  /** Where the lock was found: `recorded` in the store, `attached` in the registry, `given`. */
  readonly lock: 'recorded' | 'attached' | 'given' | undefined;
  /** `unchecked`: something that looks like one is there. kina checks none yet. */
  readonly signature: 'none' | 'unchecked';
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
}

/** More than any statement or lock has: a node's are 200 KB. */
const maxDocumentBytes = 16 << 20;

interface Documents {
  readonly statements: readonly Statement[];
  readonly lock: Lock | undefined;
  readonly signature: Verdict['signature'];
}

/** Throws `integrity` for a broken chain in a registry, `not-found`, `network`; `lock` when a rebuild has no lock. */
export async function verify(ref: string, options: VerifyOptions, tools: Toolbox): Promise<Verdict> {
  const { descriptor, origin } = await obtain(ref, tools);
  const task = tools.reporter.task('read', ref);
  const { blobs, bytes, damage } = await verifyImage(tools.store, descriptor, { signal: tools.signal, task });
  task.done(undefined, true);
  const base = {
    ref,
    digest: descriptor.digest,
    from: origin ? ('registry' as const) : ('store' as const),
    ...{ blobs, bytes, damage },
  };
  if (damage.length > 0)
    return { ...base, provenance: undefined, lock: undefined, signature: 'none', problems: [], rebuilt: undefined };
  const image = await readContents(tools.store, descriptor);
  const found = origin ? await inRegistry(origin, descriptor, tools) : await inStore(image, tools);
  const lock = options.lock ?? found.lock;
  const [statement] = found.statements;
  const problems = [
    ...found.statements.flatMap((one) => statementProblems(one, image)),
    // One that was given may be of other platforms too; the attached one is the whole of what the statement says.
    ...(lock ? lockProblems(lock, image, options.lock ? undefined : statement) : []),
  ];
  return {
    ...base,
    provenance: statement && {
      kina: statement.predicate.runDetails.builder.version?.kina,
      materials: statement.predicate.buildDefinition.resolvedDependencies.length,
    },
    lock: options.lock ? 'given' : found.lock ? (origin ? 'attached' : 'recorded') : undefined,
    signature: found.signature,
    problems,
    rebuilt: options.rebuild && problems.length === 0 ? await again(image, lock, options.recipe, tools) : undefined,
  };
}

async function again(image: ImageContents, lock: Lock | undefined, recipe: string | undefined, tools: Toolbox) {
  if (lock) return rebuild(image, lock, recipe ?? lock.recipe, tools);
  throw new KinaError('lock', 'the lock that the image was built from is neither beside it nor in the store', {
    hint: 'Name it with --lock FILE. Images pushed with --provenance have theirs beside them.',
  });
}

async function inStore(image: ImageContents, { store }: Toolbox): Promise<Documents> {
  const origins = await originsOf(store, image);
  const lock = origins && lockFrom(joinOrigins(origins), 'the lock of the build in the store');
  return { statements: [], lock, signature: 'none' };
}

async function inRegistry(origin: ImageReference, image: Descriptor, tools: Toolbox): Promise<Documents> {
  const { transport, signal } = tools;
  const entries = await referrersOf(origin, image.digest, transport, signal);
  const read = (entry: Descriptor) => readAttachment(origin, entry, image.digest, maxDocumentBytes, transport, signal);
  const statements: Statement[] = [];
  for (const entry of ofType(entries, provenanceType)) {
    const statement = parseStatement(await read(entry));
    if (statement) statements.push(statement);
  }
  const [lock] = ofType(entries, lockType);
  const signed = entries.some((entry) => /sigstore|cosign|notary/.test(String(typeOf(entry))));
  return {
    statements,
    lock: lock && parseLock((await read(lock)).toString('utf8'), 'the lock beside the image'),
    signature: signed || (await hasCosignTag(origin, image.digest, tools)) ? 'unchecked' : 'none',
  };
}

function typeOf(entry: Descriptor): unknown {
  return (entry as { artifactType?: unknown }).artifactType;
}

function ofType(entries: readonly Descriptor[], type: string): Descriptor[] {
  return entries.filter((entry) => typeOf(entry) === type);
}

/** Where cosign before 3 puts signatures. */
async function hasCosignTag(origin: ImageReference, digest: Digest, { transport, signal }: Toolbox): Promise<boolean> {
  try {
    const tag = `sha256-${hexOf(digest)}.sig`;
    await resolveReference(formatReference({ ...origin, tag, digest: undefined }), transport, signal);
    return true;
  } catch (error) {
    if (error instanceof KinaError && error.code === 'not-found') return false;
    throw error;
  }
}
