/**
 * The room's front door for planning: signed indexes of several suites, read once per change of the archive.
 *
 * A closure is cached under the digests of the signed indexes and the request, so planning again reads the `InRelease`
 * files (150 KB each) and nothing else; the `Packages` files (60 MB unpacked) are only opened when something changed.
 */
import pLimit from 'p-limit';
import type { Artifact, Digest, Fetched } from '../artifacts/artifact.ts';
import { KinaError } from '../host/errors.ts';
import { digestOf } from '../host/json.ts';
import { releaseMemory } from '../host/memory.ts';
import { type ArchiveSpec, archivePath, snapshotUrl } from './archive.ts';
import { decompressIndex } from './decompress.ts';
import { PackageIndex } from './packages.ts';
import { formatGroup } from './relations.ts';
import { type Release, verifyRelease } from './release.ts';
import { type ClosureRequest, resolveClosure, type SelectedPackage, type SuiteIndex } from './resolve.ts';
import { newestDocument, refuseReplay } from './rollback-guard.ts';

/** Where resolutions are kept between runs; keys are digests. Losing an entry costs time, nothing else. */
export interface IndexCache {
  get(key: Digest): Promise<unknown>;
  put(key: Digest, value: unknown): Promise<void>;
}

/** How this room reaches the outside. URLs are `debian:` URLs, see `archivePrefixes`. */
export interface ArchiveContext {
  /** A small document, whole. */
  fetchBytes(url: string): Promise<Buffer>;
  /** A file of known size and digest, verified, in the store. */
  fetchFile(artifact: Artifact): Promise<Fetched>;
  readonly cache?: IndexCache;
  /** The time to judge signatures and `Valid-Until` by. */
  readonly now?: Date;
}

export interface OpenArchive {
  readonly spec: ArchiveSpec;
  readonly release: Release;
}

/**
 * Reads and verifies the signed index of every suite; with a cache, also that it is not older than one seen before, and
 * without a network it is that one.
 */
export async function openArchives(specs: readonly ArchiveSpec[], context: ArchiveContext): Promise<OpenArchive[]> {
  return await Promise.all(
    specs.map(async (spec) => {
      const document = await fetchSigned(spec, context);
      const release = await verifyRelease(document, spec, context.now, context.cache);
      if (context.cache) await refuseReplay(spec, release, document, context.cache);
      return { spec, release };
    }),
  );
}

async function fetchSigned(spec: ArchiveSpec, { fetchBytes, cache }: ArchiveContext): Promise<Buffer> {
  try {
    return await fetchBytes(archivePath(spec.archive, `dists/${spec.suite}/InRelease`));
  } catch (error) {
    const offline = error instanceof KinaError && error.code === 'offline';
    const kept = offline && cache ? await newestDocument(spec, cache) : undefined;
    if (!kept) throw error;
    return kept;
  }
}

/** What `planPackages` needs besides the indexes. */
export type PackageRequest = Omit<ClosureRequest, 'indexes'>;

/** A package to install, ready for a lock. */
export interface PlannedPackage {
  readonly artifact: Artifact;
  readonly architecture: string;
  readonly suite: string;
  /** Date of the signed index it was chosen from, ISO 8601. */
  readonly released: string;
  readonly source: string;
  readonly because: readonly string[];
  /** What it depends on, and what it breaks or conflicts with, as its control file says. */
  readonly needs: readonly string[];
  readonly breaks: readonly string[];
}

/** The closure of a request as artifacts, from the cache when no signed index has changed. */
export async function planPackages(
  archives: readonly OpenArchive[],
  request: PackageRequest,
  context: ArchiveContext,
): Promise<PlannedPackage[]> {
  const key = digestOf({
    kind: 'debian-closure/3',
    request,
    indexes: archives.map(({ spec: { archive, suite, components, priority }, release }) => ({
      archive,
      suite,
      components,
      priority: priority ?? null,
      digest: release.digest,
    })),
  });
  const known = (await context.cache?.get(key)) as PlannedPackage[] | undefined;
  if (known) return known;
  return turns(async () => {
    const planned = resolveClosure({ ...request, indexes: await heldIndexes(archives, request, context) });
    const packages = planned.map(plannedPackage);
    await context.cache?.put(key, packages);
    return packages;
  }).finally(() => {
    if (turns.pendingCount === 0) held = undefined;
  });
}

/** One closure at a time: the indexes of a second architecture beside the first would be the peak of kina's memory. */
const turns = pLimit(1);

/** The indexes of the last closure, for the next one of the same suites and architecture; let go when none waits. */
let held: { readonly key: string; readonly indexes: readonly SuiteIndex[] } | undefined;

async function heldIndexes(
  archives: readonly OpenArchive[],
  { architecture }: PackageRequest,
  context: ArchiveContext,
): Promise<readonly SuiteIndex[]> {
  const key = JSON.stringify([architecture, archives.map(({ spec, release }) => [spec, release.digest])]);
  if (held?.key === key) return held.indexes;
  held = undefined;
  // What was read before, and what verifying signatures left.
  releaseMemory();
  const indexes: SuiteIndex[] = [];
  for (const open of archives) indexes.push(...(await readIndexes(open, architecture, context)));
  held = { key, indexes };
  return indexes;
}

/**
 * gzip first, although xz is a quarter smaller: it decodes as a stream in a fifth of the time, while an index packed
 * with xz is one block that must be held twice (60 MB each).
 */
const compressions = ['.gz', '.xz'] as const;

/** The `Packages` files of one suite. */
export async function readIndexes(
  { spec, release }: OpenArchive,
  architecture: string,
  context: ArchiveContext,
): Promise<SuiteIndex[]> {
  const indexes: SuiteIndex[] = [];
  for (const component of spec.components) {
    const name = `${component}/binary-${architecture}/Packages`;
    const plain = release.files.get(name);
    const suffix = compressions.find((candidate) => release.files.has(name + candidate));
    const packed = suffix && release.files.get(name + suffix);
    if (!plain || !packed)
      throw new KinaError('debian', `${spec.archive} ${spec.suite} has no ${component} for ${architecture}`, {
        hint: `It has ${release.components.join(', ')} for ${release.architectures.join(', ')}.`,
      });
    const folder = `dists/${spec.suite}/${component}/binary-${architecture}`;
    const [byHash, byName] = [`${folder}/by-hash/SHA256/${packed.sha256}`, `${folder}/Packages${suffix}`];
    const fetched = await context.fetchFile({
      name: `Packages of ${spec.suite}/${component} ${architecture}`,
      url: archivePath(spec.archive, release.byHash ? byHash : byName),
      size: packed.size,
      digest: `sha256:${packed.sha256}`,
      verifiedBy: `OpenPGP ${release.signedBy}`,
      ...(release.byHash ? { fallbacks: [archivePath(spec.archive, byName)] } : {}),
    });
    const from = `Packages of ${spec.archive} ${spec.suite}/${component} ${architecture}`;
    const text = await decompressIndex(fetched.path, packed.size, plain, from);
    indexes.push({
      archive: spec.archive,
      suite: spec.suite,
      codename: release.codename,
      component,
      priority: spec.priority ?? 500,
      released: release.date,
      packages: new PackageIndex(text, architecture, from),
    });
  }
  return indexes;
}

function plannedPackage({ record, archive, suite, released, because }: SelectedPackage): PlannedPackage {
  return {
    artifact: {
      name: record.name,
      version: record.version,
      url: archivePath(archive, record.filename),
      size: record.size,
      digest: `sha256:${record.sha256}`,
      verifiedBy: 'OpenPGP',
      fallbacks: [snapshotUrl(archive, record.filename, released)],
    },
    architecture: record.architecture,
    suite,
    released: released.toISOString(),
    source: record.source,
    because,
    needs: [...record.preDepends, ...record.depends].map(formatGroup),
    breaks: [...record.breaks, ...record.conflicts].map(formatGroup),
  };
}
