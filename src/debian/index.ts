/**
 * The entry point of this room for planning: signed indexes of several suites, parsed only when the archive changes.
 *
 * A closure is cached under the digests of the signed indexes and the request, so planning again reads only the
 * `InRelease` files (150 KB each); the `Packages` files (60 MB unpacked) are opened only after a change.
 */
import pLimit from 'p-limit';
import type { Artifact, Fetched, RemoteFile } from '../artifacts/artifact.ts';
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

/** A cache of resolutions; keys are digests. A lost entry costs only time. */
export interface IndexCache {
  get(key: RemoteFile['digest']): Promise<unknown>;
  put(key: RemoteFile['digest'], value: unknown): Promise<void>;
}

/** Access to the outside. URLs are `debian:` URLs, see `archivePrefixes`. */
export interface ArchiveContext {
  /** Fetches a small document. */
  fetchBytes(url: string): Promise<Buffer>;
  /** Fetches a file of known size and digest, verified, into the store. */
  fetchFile(file: RemoteFile): Promise<Fetched>;
  readonly cache?: IndexCache;
  /** The time for judging signatures and `Valid-Until`. */
  readonly now?: Date;
}

export interface OpenArchive {
  readonly spec: ArchiveSpec;
  readonly release: Release;
}

/**
 * Reads and verifies the signed index of every suite. With a cache, an index must not be older than the newest one seen
 * before, and without a network that one is used.
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

/** The inputs of `planPackages` besides the indexes. */
export type PackageRequest = Omit<ClosureRequest, 'indexes'>;

/** A package to install, ready for the lock. */
export interface PlannedPackage {
  readonly artifact: Artifact;
  readonly architecture: string;
  readonly suite: string;
  /** Date of the signed index that it was chosen from, ISO 8601. */
  readonly released: string;
  readonly source: string;
  readonly because: readonly string[];
  /** Its dependencies, and what it breaks or conflicts with, from its control file. */
  readonly needs: readonly string[];
  readonly breaks: readonly string[];
}

/** The closure of a request as artifacts, from the cache if no signed index has changed. */
export async function planPackages(
  archives: readonly OpenArchive[],
  request: PackageRequest,
  context: ArchiveContext,
): Promise<PlannedPackage[]> {
  const key = digestOf({
    kind: 'debian-closure/4',
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

/** One closure at a time: holding the indexes of two architectures would be kina's peak of memory. */
const turns = pLimit(1);

/** The indexes of the last closure, kept for the next one of the same suites and architecture, and freed if none waits. */
let held: { readonly key: string; readonly indexes: readonly SuiteIndex[] } | undefined;

async function heldIndexes(
  archives: readonly OpenArchive[],
  { architecture }: PackageRequest,
  context: ArchiveContext,
): Promise<readonly SuiteIndex[]> {
  const key = JSON.stringify([architecture, archives.map(({ spec, release }) => [spec, release.digest])]);
  if (held?.key === key) return held.indexes;
  held = undefined;
  // Frees the previous indexes and what verifying signatures allocated.
  releaseMemory();
  const indexes: SuiteIndex[] = [];
  for (const open of archives) indexes.push(...(await readIndexes(open, architecture, context)));
  held = { key, indexes };
  return indexes;
}

/**
 * gzip first, although xz is a quarter smaller: gzip decodes as a stream in a fifth of the time, while an xz index is
 * one block that must be held twice (60 MB each).
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
      throw new KinaError('debian', `${spec.archive} ${spec.suite} has no component ${component} for ${architecture}`, {
        hint: `Available: ${release.components.join(', ')} for ${release.architectures.join(', ')}.`,
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
      type: 'deb',
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
