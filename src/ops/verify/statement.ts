/**
 * Compares attached documents with the image: a provenance statement's subjects, recipe, lock and version with digests and
 * labels; a lock with the label that has its digest; an SBOM's subject with the platform's manifest. A match shows that they
 * belong together, not who wrote them, which needs signatures.
 */
import { z } from 'zod';
import { type Lock, lockDigest, lockedArtifacts, platformLock } from '../../build/lock.ts';
import { type Digest, hexOf } from '../../oci/descriptor.ts';
import type { ImageContents, PlatformImage } from '../../oci/image/contents.ts';
import { labels } from '../../oci/node-conventions.ts';

const schema = z.looseObject({
  _type: z.literal('https://in-toto.io/Statement/v1'),
  subject: z.array(z.looseObject({ digest: z.looseObject({ sha256: z.string() }) })),
  predicateType: z.literal('https://slsa.dev/provenance/v1'),
  predicate: z.looseObject({
    buildDefinition: z.looseObject({
      buildType: z.literal('kina:node-image/v1'),
      externalParameters: z.looseObject({ recipe: z.string(), kubernetes: z.string().optional() }),
      internalParameters: z.looseObject({ lock: z.string(), locks: z.record(z.string(), z.string()).optional() }),
      resolvedDependencies: z.array(z.looseObject({ uri: z.string(), digest: z.looseObject({ sha256: z.string() }) })),
    }),
    runDetails: z.looseObject({
      builder: z.looseObject({ version: z.looseObject({ kina: z.string() }).optional() }),
    }),
  }),
});
export type Statement = z.infer<typeof schema>;

/** Undefined if it is not kina's provenance: statements of other tools have no information about kina's labels. */
export function parseStatement(bytes: Uint8Array): Statement | undefined {
  try {
    const parsed = schema.safeParse(JSON.parse(Buffer.from(bytes).toString('utf8')));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

/** `linux/arm64`: the platform's name in locks. */
export function lockName({ config }: PlatformImage): string {
  return `${config.os}/${config.architecture}`;
}

export function labelOf({ config }: PlatformImage, label: string): string | undefined {
  return config.config?.Labels?.[label];
}

/** All mismatches; empty if statement and image match. */
export function statementProblems(statement: Statement, image: ImageContents): string[] {
  const { buildDefinition, runDetails } = statement.predicate;
  const subjects = new Set(statement.subject.map(({ digest }) => digest.sha256));
  const problems: string[] = [];
  if (!subjects.has(hexOf(image.descriptor.digest)))
    problems.push(`the provenance is not about ${image.descriptor.digest}`);
  for (const platform of image.platforms) {
    const name = lockName(platform);
    const compare = (what: string, said: string | undefined, label: string): void => {
      const labelled = labelOf(platform, label);
      if (said !== labelled)
        problems.push(`${name}: ${what} does not match: provenance ${said ?? 'none'}, image ${labelled ?? 'none'}`);
    };
    if (!subjects.has(hexOf(platform.descriptor.digest)))
      problems.push(`${name}: the provenance is not about ${platform.descriptor.digest}`);
    compare('recipe', buildDefinition.externalParameters.recipe, labels.recipe);
    compare('Kubernetes', buildDefinition.externalParameters.kubernetes, labels.kubernetes);
    compare('kina', runDetails.builder.version?.kina, labels.kina);
    compare('lock', buildDefinition.internalParameters.locks?.[name], labels.lock);
  }
  return problems;
}

/** The same for a lock; with a statement, also compares its materials with the lock's artifacts. */
export function lockProblems(lock: Lock, image: ImageContents, statement?: Statement): string[] {
  const problems: string[] = [];
  for (const platform of image.platforms) {
    const name = lockName(platform);
    const digest = lockDigest(platformLock(lock, name));
    const labelled = labelOf(platform, labels.lock);
    if (digest !== labelled) problems.push(`${name}: wrong lock: got ${digest}, want ${labelled ?? 'none'}`);
  }
  if (!statement) return problems;
  const pinned = new Set(lockedArtifacts(lock).map(({ digest }) => digest.slice(7)));
  const materials = new Set(
    statement.predicate.buildDefinition.resolvedDependencies.map(({ digest }) => digest.sha256),
  );
  const unsaid = [...pinned].filter((one) => !materials.has(one));
  const unpinned = [...materials].filter((one) => !pinned.has(one));
  if (unsaid.length) problems.push(`${unsaid.length} artifacts of the lock are not in the provenance`);
  if (unpinned.length) problems.push(`${unpinned.length} materials of the provenance are not in the lock`);
  return problems;
}

const sbom = z.looseObject({
  creationInfo: z.looseObject({ creators: z.array(z.string()) }),
  packages: z.array(
    z.looseObject({
      SPDXID: z.string(),
      checksums: z.array(z.looseObject({ algorithm: z.string(), checksumValue: z.string() })).optional(),
    }),
  ),
});

/** The same for an SBOM, which `what` names. SBOMs of other tools have no comparable subject and are skipped. */
export function sbomProblems(what: string, bytes: Uint8Array, subject: Digest): string[] {
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    return [`the ${what} is not JSON`];
  }
  const parsed = sbom.safeParse(value);
  if (!parsed.success || !parsed.data.creationInfo.creators.some((one) => one.startsWith('Tool: kina-'))) return [];
  const image = parsed.data.packages.find(({ SPDXID }) => SPDXID === 'SPDXRef-image');
  const about = image?.checksums?.find(({ algorithm }) => algorithm === 'SHA256')?.checksumValue;
  return about === hexOf(subject)
    ? []
    : [`the ${what} is about ${about ?? 'nothing'}, but is attached to ${hexOf(subject)}`];
}
