/**
 * An image somewhere else, in a registry, a layout folder or an archive, as a source whose parts come into the store when
 * somebody wants them: what the destination has already is never fetched.
 */
import { stat } from 'node:fs/promises';
import { KinaError } from '../../host/errors.ts';
import { type Descriptor, type Digest, isManifestType, maxManifestBytes, parseIndex } from '../../oci/descriptor.ts';
import { importArchive } from '../../oci/image/import.ts';
import { type ArchiveFiles, readArchive, readLayout } from '../../oci/image/import-source.ts';
import type { ImageSource } from '../../oci/image/parts.ts';
import { blobName } from '../../oci/output/archive.ts';
import { formatReference, type ImageReference, repositoryUrl } from '../../oci/reference.ts';
import { readManifest, resolveReference } from '../../oci/registry/client.ts';
import { referrersOf, subjectOf } from '../../oci/registry/referrers.ts';
import type { Session } from '../../session/session.ts';
import type { Location } from './location.ts';

type Tools = Pick<Session, 'store' | 'transport' | 'fetcher' | 'signal'>;

export interface KeptSource extends ImageSource {
  /** Of the index or manifest; in the store. */
  readonly root: Descriptor;
  /** As the source calls it; undefined for a nameless image. */
  readonly name: string | undefined;
  /** Where it is, when that is a registry. */
  readonly origin?: ImageReference | undefined;
  /** What the source lists beside `subject`; claims, until each is read. */
  referrers(subject: Digest): Promise<readonly Descriptor[]>;
  /** Brings blobs into the store, side by side. */
  keep(blobs: readonly Descriptor[]): Promise<void>;
}

/** Throws `not-found`, `network`, `integrity`, `archive`; `usage` when the source holds several images and names none. */
export async function openSource(location: Location, tools: Tools): Promise<KeptSource> {
  if (location.type === 'registry') return registrySource(location.ref, tools);
  const { path, name } = location;
  const found = await stat(path).catch(() => undefined);
  if (!found)
    throw new KinaError('not-found', `${path} does not exist`, {
      hint: 'Name an OCI layout folder or an image archive.',
    });
  if (location.type === 'docker-archive') return dockerSource(path, name, tools);
  return layoutSource(
    path,
    name,
    found.isDirectory() ? await readLayout(tools.store, path) : await readArchive(tools.store, path),
    tools,
  );
}

async function registrySource(ref: string, { store, transport, fetcher, signal }: Tools): Promise<KeptSource> {
  const top = await resolveReference(ref, transport, signal);
  await store.writeBytes(top.bytes, { digest: top.descriptor.digest });
  const { tag, registry, repository } = top.reference;
  const artifact = ({ digest, size }: { digest: Digest; size: number }) => ({
    name: `${repository} ${digest.slice(7, 19)}`,
    url: `${repositoryUrl(top.reference)}/blobs/${digest}`,
    size,
    digest,
    verifiedBy: 'registry manifest',
  });
  return {
    root: top.descriptor,
    name: tag === undefined ? undefined : formatReference({ registry, repository, tag, digest: undefined }),
    origin: top.reference,
    async readBytes(digest, limit) {
      if (!(await store.has(digest)))
        await store.writeBytes(await readManifest(top.reference, digest, transport, signal), { digest });
      return store.readBytes(digest, limit);
    },
    async *verified(digest, size = 0) {
      await fetcher.fetch(artifact({ digest, size }));
      yield* store.verified(digest, size);
    },
    open: (blob, range) => store.open(blob, range),
    referrers: (subject) => referrersOf(top.reference, subject, transport, signal),
    async keep(blobs) {
      await fetcher.fetchAll(blobs.map(artifact));
    },
  };
}

async function layoutSource(
  path: string,
  name: string | undefined,
  files: ArchiveFiles,
  { store }: Tools,
): Promise<KeptSource> {
  const index = await files.digestOf('index.json');
  if (!index || !(await files.digestOf('oci-layout')))
    throw new KinaError('archive', `${path} is no OCI image layout`, {
      hint: 'For what `docker save` writes, say docker-archive:FILE.',
    });
  const { manifests } = parseIndex(await store.readBytes(index, maxManifestBytes), `${path}: index.json`);
  const nameOf = ({ annotations }: Descriptor) =>
    annotations?.['io.containerd.image.name'] ?? annotations?.['org.opencontainers.image.ref.name'];
  const beside = new Map<Digest, Descriptor[]>();
  const images: Descriptor[] = [];
  for (const one of manifests) {
    const there = isManifestType(one.mediaType) && (await files.digestOf(blobName(one.digest)));
    const subject = there ? subjectOf(await store.readBytes(one.digest, maxManifestBytes)) : undefined;
    if (subject === undefined) images.push(one);
    else beside.set(subject, [...(beside.get(subject) ?? []), one]);
  }
  const entry = selectOnly(path, images, (one) => [nameOf(one) ?? ''], name);
  const keep = async (digest: Digest): Promise<void> => {
    if (!(await files.digestOf(blobName(digest))))
      throw new KinaError('archive', `${path}: ${digest} is not in it`, {
        hint: 'It is incomplete: cut short, or exported without its blobs. Save it again.',
      });
  };
  const { mediaType, digest, size } = entry;
  await keep(digest);
  return {
    root: { mediaType, digest, size },
    name: nameOf(entry),
    async readBytes(inner, limit) {
      await keep(inner);
      return store.readBytes(inner, limit);
    },
    async *verified(blob, bytes) {
      await keep(blob);
      yield* store.verified(blob, bytes);
    },
    open: (blob, range) => store.open(blob, range),
    referrers: async (subject) => beside.get(subject) ?? [],
    async keep(blobs) {
      for (const blob of blobs) await keep(blob.digest);
    },
  };
}

async function dockerSource(path: string, name: string | undefined, { store }: Tools): Promise<KeptSource> {
  const image = selectOnly(path, await importArchive(store, path), ({ names }) => names, name);
  const { mediaType, digest, size } = image.manifest;
  return {
    root: { mediaType, digest, size },
    name: name ?? image.names[0],
    readBytes: (inner, limit) => store.readBytes(inner, limit),
    verified: (blob, bytes) => store.verified(blob, bytes),
    open: (blob, range) => store.open(blob, range),
    referrers: async () => [],
    keep: async () => {},
  };
}

/** The image of that name, or the only one there is. Several names of one image are one image. */
function selectOnly<T>(
  path: string,
  all: readonly T[],
  namesOf: (one: T) => readonly string[],
  name: string | undefined,
): T {
  const fitting = name === undefined ? all : all.filter((one) => namesOf(one).includes(name));
  const digests = new Set(fitting.map((one) => JSON.stringify(digestIn(one))));
  if (digests.size === 1) return fitting[0] as T;
  const names = all.flatMap(namesOf).filter(Boolean);
  if (name !== undefined && !fitting.length)
    throw new KinaError('not-found', `${path} has no image ${name}`, { details: names });
  throw new KinaError('usage', `${path} holds ${all.length === 0 ? 'no image' : 'several images'}`, {
    details: names,
    hint: all.length ? 'Say which: TYPE:PATH:NAME.' : 'Save it again.',
  });
}

function digestIn(one: unknown): unknown {
  const { manifest, digest } = one as { manifest?: Descriptor; digest?: Digest };
  return manifest?.digest ?? digest;
}
